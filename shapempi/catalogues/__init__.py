"""Catalogues as other programs want them: exported, merged, matched, pasted, and random ones."""
