"""The registrar's feed: an export comes in, enrolments recorded and cancelled go out on the log.

`import_file` is the whole interface; profiles say how each registrar writes its exports. The optional second
file, of teaching units and groups, is in `producers.registrar.teachings`.
"""
