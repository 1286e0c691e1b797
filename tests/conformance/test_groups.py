from sesame.testing.eventlog.groups import *
