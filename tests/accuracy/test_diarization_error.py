"""Checks of the scorer: `python3 -m unittest discover tests/accuracy`."""

import itertools
import random
import unittest

from diarization_error import Turn, best_mapping, score


class Mapping(unittest.TestCase):
    def test_is_the_best_of_all_permutations(self):
        chance = random.Random(7)
        for _ in range(300):
            rows, columns = chance.randint(1, 5), chance.randint(1, 5)
            together = {
                (f"r{r}", f"c{c}"): chance.choice([0.0, round(chance.random(), 2)])
                for r in range(rows)
                for c in range(columns)
            }
            found = best_mapping(together)
            self.assertEqual(len(set(found.values())), len(found))
            small, large = sorted((rows, columns))
            best = max(
                sum(
                    together[(f"r{i}", f"c{j}") if rows <= columns else (f"r{j}", f"c{i}")]
                    for i, j in enumerate(chosen)
                )
                for chosen in itertools.permutations(range(large), small)
            )
            self.assertAlmostEqual(sum(together[pair] for pair in found.items()), best, places=9)


class Score(unittest.TestCase):
    def test_names_do_not_matter(self):
        reference = [Turn(0.0, 2.0, "a"), Turn(2.0, 5.0, "b")]
        found = [Turn(0.0, 2.0, "x"), Turn(2.0, 5.0, "y")]
        self.assertEqual(score(reference, found).rate, 0.0)

    def test_each_kind_of_error_once(self):
        reference = [Turn(0.0, 10.0, "a"), Turn(4.0, 6.0, "b")]
        found = [Turn(1.0, 8.0, "x"), Turn(8.0, 10.0, "y"), Turn(10.0, 11.0, "x")]
        error = score(reference, found)
        self.assertAlmostEqual(error.speech_s, 12.0)
        self.assertAlmostEqual(error.missed_s, 1.0 + 2.0)
        self.assertAlmostEqual(error.false_alarm_s, 1.0)
        self.assertAlmostEqual(error.confusion_s, 2.0)
        self.assertAlmostEqual(error.rate, 0.5)

    def test_regions_limit_what_is_scored(self):
        reference, found = [Turn(0.0, 10.0, "a")], [Turn(5.0, 15.0, "x")]
        error = score(reference, found, regions=[(4.0, 8.0), (12.0, 13.0)])
        self.assertAlmostEqual(error.speech_s, 4.0)
        self.assertAlmostEqual(error.missed_s, 1.0)
        self.assertAlmostEqual(error.false_alarm_s, 1.0)

    def test_turns_of_one_speaker_may_overlap_each_other(self):
        reference = [Turn(0.0, 4.0, "a"), Turn(2.0, 6.0, "a")]
        self.assertAlmostEqual(score(reference, [Turn(0.0, 6.0, "x")]).rate, 0.0)
        self.assertAlmostEqual(score(reference, []).speech_s, 6.0)

    def test_nothing_against_nothing_and_against_something(self):
        self.assertEqual(score([], []).rate, 0.0)
        self.assertEqual(score([], [Turn(0.0, 1.0, "x")]).rate, float("inf"))


if __name__ == "__main__":
    unittest.main()
