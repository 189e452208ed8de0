"""Which backdrop a prompt means."""
