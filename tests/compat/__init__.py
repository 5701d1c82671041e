"""Libraries built on requests, over real HTTP/2 servers; ``docs/ecosystem.rst`` has the results."""
