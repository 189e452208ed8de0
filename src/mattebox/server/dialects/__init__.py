"""One file a vendor. A file is its own registration: it names a `DIALECT`, and `server.app` finds it."""
