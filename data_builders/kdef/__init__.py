"""KDEF: posed expressions of 70 persons from five angles."""
