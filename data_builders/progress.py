"""How far a build is, on a terminal or in a log."""

import sys


class Progress:
    """One bar on a terminal, a line now and then elsewhere (on standard error)."""

    def __init__(self, name: str, total: int | None):
        from tqdm import tqdm

        self.name, self.total, self.done = name, total, 0
        self._every = max(1000, (total or 0) // 5)
        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=total, desc=name, unit=' images') if terminal else None

    def update(self) -> None:
        """One more image."""
        self.done += 1
        if self._bar is not None:
            self._bar.update()
        elif self.done % self._every == 0:
            of = f' of {self.total}' if self.total else ''
            print(f'{self.name}: {self.done}{of} images', file=sys.stderr)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()
