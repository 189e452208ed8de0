"""Drawn studios, tables and walls."""
