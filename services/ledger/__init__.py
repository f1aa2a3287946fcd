"""clinic-ledger: carries CDR, CEL and queue log from Asterisk's files to PostgreSQL, every row exactly once."""
