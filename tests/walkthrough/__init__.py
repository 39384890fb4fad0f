"""The walk: every command of the pages, run as a reader would type it, so that a page cannot rot.

`python -m tests.walkthrough` clones the commit, and runs the commands of README.md, CONTRIBUTING.md and docs/*.md in
that clone, with a home of its own. What counts as a command:

* every line of a fenced block without a language (other blocks name theirs: `yaml`, `text`, ...);
* every code span in a sentence that begins with a program of `pages.PROGRAMS`. One that a block of any page or an
  earlier sentence has too is run there alone. One that only names a command of Evenhand, without the arguments it
  needs, is asked for its help.

The commands of a page run in order, each beginning where the one before has left folder and variables. Servers and
workers run in the background until the page ends or another of them takes their address. Afterwards the clone is put
back to its commit.

Markers in a page are HTML comments, `<!-- walkthrough: ... -->`, and hold from where they stand:

| marker | means |
|---|---|
| skip `START`, REASON | the next command that begins with START is left out |
| instead of `START`, `COMMAND`, REASON | COMMAND runs in place of the next command that begins with START |
| fill `WORD` with `TEXT` | the reader's part of a command: every WORD is TEXT to the shell, also `$(...)` |
| first `COMMAND` | COMMAND runs here, to make what the reader is supposed to have |
| file `NAME` | the next block is the content of NAME in the checkout, for the commands of all pages |
| postgres `WORD` | WORD is the user and address of a PostgreSQL with empty databases `prefect` and `mlflow` |

REASON is `hub`, `GPU` or `over ten minutes`; after a colon it may say more. Of commands that need more than ten minutes
the smallest override runs. At most `pages.MOST_LEFT_OUT` commands of all pages are left out or replaced.
"""
