"""The protocol seam: bytes in, events out; commands in, bytes out. No I/O here."""
