"""How many operations the compiled loop starts per step, read off the text of the optimised program."""

import dataclasses
import re
from collections.abc import Iterator

# What is named, but never started: names of what is there already; and the ends of what has been started elsewhere.
_FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "opt-barrier",
    "partition-id",
    "replica-id",
}
_ENDS = ("-done", "-update")
_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?[\w.\-]+ = (.*)$")
_OPCODE = re.compile(r"\s([a-z][a-z0-9\-]*)\(")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"?(\d+)')
_BRANCHES = re.compile(r"(?:true_computation|false_computation)=%?([\w.\-]+)|branch_computations=\{([^}]*)\}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction of a computation."""

    opcode: str
    text: str

    def called(self, name: str) -> str:
        """The computation that it calls in a role: ``body``, ``condition``, ``to_apply``."""
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.text)
        if found is None:
            raise RuntimeError(f"a {self.opcode} of the compiled program has no {name}. Please report this version of JAX.")
        return found.group(1)

    @property
    def branches(self) -> list[str]:
        """The computations of which a conditional runs one."""
        names = [one or several for one, several in _BRANCHES.findall(self.text)]
        return [name.strip().removeprefix("%") for part in names for name in part.split(",")]

    @property
    def trips(self) -> int | None:
        """How often a loop runs, if the compiler knows."""
        found = _TRIPS.search(self.text)
        return int(found.group(1)) if found else None


class Program:
    """A compiled program, from ``jax.jit(...).lower(...).compile().as_text()``."""

    def __init__(self, text: str) -> None:
        self.computations: dict[str, list[Instruction]] = {}
        self.entry = ""
        for line in text.splitlines():
            if header := _HEADER.match(line):
                name = header.group(2)
                self.computations[name] = []
                self.entry = name if header.group(1) else self.entry
            elif (found := _INSTRUCTION.match(line)) and (opcode := _OPCODE.search(f" {found.group(1)}")):
                self.computations[name].append(Instruction(opcode=opcode.group(1), text=found.group(1)))

    def instructions(self, name: str) -> Iterator[Instruction]:
        """Those of a computation, with those of called computations in place of the calls."""
        for instruction in self.computations[name]:
            if instruction.opcode == "call":
                yield from self.instructions(instruction.called("to_apply"))
            else:
                yield instruction

    def started(self, name: str, *, turns: float = 1.0) -> float:
        """Operations that one run of a computation starts; of the loops in it of unknown length, the widest takes ``turns``.

        An operation is an instruction that becomes a kernel or a call of a library: a fusion, a custom call, a product, a
        convolution, a copy, a scatter, a gather, a sort, a reduction, or one that stands alone. Names, tuples, bitcasts and
        constants are none. A loop counts its body and its condition as often as it runs; a conditional its widest branch.
        """
        total, unknown = 0.0, [0.0]
        for instruction in self.instructions(name):
            if instruction.opcode == "while":
                one = self.started(instruction.called("body")) + self.started(instruction.called("condition"))
                if instruction.trips is None:
                    unknown.append(one)
                else:
                    total += instruction.trips * one
            elif instruction.opcode == "conditional":
                total += max(map(self.started, instruction.branches))
            elif instruction.opcode not in _FREE and not instruction.opcode.endswith(_ENDS):
                total += 1
        return total + turns * max(unknown)

    def loop(self, name: str) -> Instruction:
        """Of the loops of unknown length in a computation, the widest."""
        loops = [one for one in self.instructions(name) if one.opcode == "while" and one.trips is None]
        if not loops:
            raise RuntimeError("the compiled program has no loop of unknown length. Please report this version of JAX.")
        return max(loops, key=lambda one: self.started(one.called("body")))


def per_step(text: str, *, block: int, deliveries: float) -> float:
    """Operations that the engine's compiled loop starts for one step.

    Those of the loop over steps, and its share of what is done once for every block of steps. Where the deliveries of a
    step are applied in a loop, the loop of the widest body counts once per delivery. What a chunk does once is left out.

    Args:
      text: of the compiled :func:`jasgd.engine.step`.
      block: steps of a block.
      deliveries: per step, on average.
    """
    program = Program(text)
    blocks = program.loop(program.entry).called("body")
    steps = program.loop(blocks)
    step = program.started(steps.called("body"), turns=deliveries) + program.started(steps.called("condition"))
    return step + program.started(blocks, turns=0.0) / block


def per_turn(text: str) -> float:
    """Operations that a program which is one loop starts whenever the loop turns."""
    program = Program(text)
    loop = program.loop(program.entry)
    return program.started(loop.called("body")) + program.started(loop.called("condition"))
