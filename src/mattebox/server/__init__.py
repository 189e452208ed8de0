"""The HTTP server and the queue; everything here needs the `server` extra."""
