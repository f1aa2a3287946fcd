"""The clinic's description turned into the files the PBX needs. Pure: texts in, bytes out."""
