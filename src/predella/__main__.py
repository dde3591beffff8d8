"""`python -m predella` is the command line; `torchrun -m predella train …` starts several processes."""

from predella.cli import main

raise SystemExit(main())
