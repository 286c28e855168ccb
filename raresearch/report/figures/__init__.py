"""The figures: functions ``draw(results) -> Drawing | None``; None where the study has nothing to draw.

`style` holds fonts, colours and saving. No pyplot, no display, and matplotlib's global settings stay as they were.
"""
