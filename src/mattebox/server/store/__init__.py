"""The stores of the server: rows, files, accounts and images."""
