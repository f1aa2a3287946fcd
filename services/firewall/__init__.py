"""The packet filter's program: loads new rules on trial, and takes them back unless somebody confirms them."""
