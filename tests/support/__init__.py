"""What the tests share: certificates, the scripted peer, real servers."""
