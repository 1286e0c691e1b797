"""Live enrolments and groups from Pégase, by polling its external APIs.

Source: PC-Scol's OpenAPI files `ins` 2.6.1 and `chc` 1.5.2, as esup-mdw-pegase ships them.
"""
