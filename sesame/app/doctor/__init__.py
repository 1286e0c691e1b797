"""Whether everything that the settings name is there and answers: `sesame doctor`."""
