from sesame.testing.eventlog.records import *
