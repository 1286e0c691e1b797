from sesame.testing.eventlog.crash import *
