"""HTTP for browsers and programs: the students' pages, console and API."""
