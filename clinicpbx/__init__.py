"""The engineer's program on the control machine."""
