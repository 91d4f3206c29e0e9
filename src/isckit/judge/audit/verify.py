"""Verifying a submission: every digest of its manifest computed again, and whatever differs named."""

from __future__ import annotations


