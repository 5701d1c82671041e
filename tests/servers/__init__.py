"""The adapter against real HTTP/2 servers, used through plain requests."""
