"""Photographed scenes and packs."""
