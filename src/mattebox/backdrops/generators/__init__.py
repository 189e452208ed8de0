"""Generators that paint: image servers and diffusion networks."""
