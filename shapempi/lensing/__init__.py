"""What a shear catalogue says of the sky, and its null tests: computed in memory from columns of the catalogue."""
