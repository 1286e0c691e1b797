"""The optional second file: which teaching units and groups each student follows.

A fact is the whole list of one student's year; a line of the file states one unit, or one group of it.
"""
