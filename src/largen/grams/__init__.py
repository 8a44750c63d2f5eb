"""Gram matrices at scale."""
