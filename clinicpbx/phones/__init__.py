"""The fleet of telephones: what each one is doing, telling them to configure themselves, replacing and moving them."""
