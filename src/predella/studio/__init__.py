"""The web page: what the command line does, for who would rather click. A tab is a file here and a verb there.

Every button runs the line of the command line that the page shows, so checks, words and files are the same in both, but for the
photo to fill: an editor has it in 8 bits.
"""
