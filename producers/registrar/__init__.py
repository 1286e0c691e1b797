"""The registrar's feed: read an export, publish enrolments recorded and cancelled.

`import_file` is the whole interface; profiles describe how each registrar writes its exports. The optional
second file, of teaching units and groups, is in `producers.registrar.teachings`.
"""
