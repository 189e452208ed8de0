"""What the server keeps: rows, files, accounts and images."""
