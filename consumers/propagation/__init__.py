"""Joins the targets' outcomes per student, and announces completion, lateness and breach."""
