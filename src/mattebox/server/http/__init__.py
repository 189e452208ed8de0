"""The HTTP door: `app` puts the server together, `dialects` speak the vendors' words, the rest is what they share."""
