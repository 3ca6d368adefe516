#!/usr/bin/env python3
"""Prints a transcript of the sample whose texts try to be markup, scripts and commands, or to break lines and layout."""

import json

TEXTS = [
    "</script><script>window.pwned=1;alert(1)</script>",
    '<img src=x onerror="window.pwned=1">&amp;{{data}}<!--',
    "javascript:alert(1) ' onmouseover='alert(1)",
    "\u0645\u0631\u062d\u0628\u0627 \u0643\u064a\u0641 \u062d\u0627\u0644\u0643 \u0627\u0644\u064a\u0648\u0645\u061f",
    "\u05e9\u05dc\u05d5\u05dd <b>\u05e2\u05d5\u05dc\u05dd</b> 123 abc",
    "\u202egnp.exe dlrow olleh\u202c after",
    "Donaudampfschifffahrtselektrizit\u00e4tenhauptbetriebswerkbauunterbeamtengesellschaft" * 6,
    "https://example.org/" + "a" * 300,
    "Z" + "\u0351\u0352\u0353\u0354" * 30,
    "\u0000\u0007\u001b[31mred\u001b[0m\u001b]0;title\u0007",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1fa\U0001f1f3",
    "",
    "\u4f60\u597d\u5417\u597d" * 40,
]
STEP_S = 3.5

print(json.dumps([{"start": n * STEP_S, "end": (n + 1) * STEP_S, "text": text} for n, text in enumerate(TEXTS)]))
