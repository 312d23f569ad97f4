"""Defences that need no training."""
