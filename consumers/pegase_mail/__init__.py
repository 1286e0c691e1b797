"""The minted address, written back to Pégase.

Source: PC-Scol's OpenAPI file `idt` 1.6.0, as esup-mdw-pegase ships it. It names the call that writes; the
form of a page, and the field that shows the address, are assumed.
"""
