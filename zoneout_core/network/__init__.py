"""Embedding, layers and output over lanes; a lane's row of numbers, and how it starts."""
