"""The clinic's typed description and the rules over it: pure Python, no I/O."""
