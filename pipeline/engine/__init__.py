"""The engine: a pure state machine. No IO, no threads; the time is passed in.

`Engine` decides which students' items may start and which offsets may be committed; the worker
(`pipeline.runner`) executes it. See DESIGN in ARCHITECTURE.md: level-triggered, one place per student.
"""
