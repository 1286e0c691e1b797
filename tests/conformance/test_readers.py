from sesame.testing.eventlog.readers import *
