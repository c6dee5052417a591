"""A correct system's histories, at random, for tests to plant a wrong in."""

from collections.abc import Callable
from random import Random

from integration.audit.adapter import Observation, Reading, Result
from integration.audit.records import Closing, Subscribed, Unsubscribed
from integration.audit.scopes import Level, Scope
from integration.audit.tests.stories import LIST, READ, SOCKET, TOTAL, WRITE, Story
from integration.audit.vocabulary import Channel


def correct_story(random: Random, steps: int = 40) -> Story:
    """Make a correct system's history: overlapping writes of every outcome, reads, events, logs."""
    story = Story(random.randrange(1000))
    threads = list(story.threads)
    sockets = _subscribe_all(story)
    pending: list[Callable[[], None]] = []
    for _ in range(steps):
        action = random.choice((_write, _read, _list, _total, _probe))
        end = action(story, random.choice(threads), random, sockets)
        pending.append(end)
        while pending and random.random() < 0.6:
            pending.pop(random.randrange(len(pending)))()
    for end in pending:
        end()
    for thread in threads:
        story.read(thread, final=True)
    for thread in threads:
        _total(story, thread, random, sockets)()
    for number, (scope, delivered) in sockets.items():
        assert delivered == len(story.threads[scope].entries)
        story.records.append(Unsubscribed(number, story.tick(), Closing.FINISHED))
    return story


Sockets = dict[int, tuple[Scope, int]]


def _subscribe_all(story: Story) -> Sockets:
    sockets: Sockets = {}
    for scope in story.threads:
        number = len(sockets)
        sockets[number] = (scope, 0)
        record = Subscribed(number, SOCKET.name, story.principal(scope).name, scope, story.tick())
        story.records.append(record)
    return sockets


def _write(story: Story, thread: Scope, random: Random, sockets: Sockets) -> Callable[[], None]:
    invoked = story.invoke(WRITE, thread)
    result = random.choices(list(Result), (8, 1, 1))[0]
    early = random.random() < 0.5
    happens = result is Result.OK or (result is Result.UNKNOWN and random.random() < 0.5)

    def happen() -> None:
        story.threads[thread].entries.append(invoked.canaries[0])
        for number, (scope, delivered) in sockets.items():
            if scope == thread:
                sockets[number] = (scope, delivered + 1)
                event = f"event for {story.identifier(thread)}: {invoked.canaries[0].upper()}"
                observation = Observation(Channel.WEBSOCKET, event, sequence=delivered + 1)
                story.see(observation, number)
        row = Observation(
            Channel.POSTGRES_ROWS,
            invoked.canaries[0],
            attribution={"thread": story.identifier(thread), "trace": invoked.trace},
        )
        story.see(row)

    if happens and early:
        happen()

    def end() -> None:
        if happens and not early:
            happen()
        story.complete(invoked, result=result, status=result.value)
        story.log(invoked, thread=story.identifier(thread))

    return end


def _read(story: Story, thread: Scope, random: Random, sockets: Sockets) -> Callable[[], None]:
    del random, sockets
    invoked = story.invoke(READ, thread)
    seen = story.entries(thread)

    def end() -> None:
        story.complete(invoked, *seen)
        story.log(invoked)

    return end


def _list(story: Story, thread: Scope, random: Random, sockets: Sockets) -> Callable[[], None]:
    del random, sockets
    user = thread.at(Level.USER)
    invoked = story.invoke(LIST, user)
    own = [scope for scope in story.threads if user.contains(scope)]
    texts = [story.identifier(scope) + "".join(story.threads[scope].entries[:1]) for scope in own]

    def end() -> None:
        story.complete(invoked, Observation(Channel.HTTP, str(texts)))
        story.log(invoked)

    return end


def _total(story: Story, thread: Scope, random: Random, sockets: Sockets) -> Callable[[], None]:
    del random, sockets
    user = thread.at(Level.USER)
    invoked = story.invoke(TOTAL, user)
    value = sum(len(held.entries) for scope, held in story.threads.items() if user.contains(scope))
    reading = Reading("messages", value)

    def end() -> None:
        story.complete(invoked, readings=(reading,))
        story.log(invoked)

    return end


def _probe(story: Story, thread: Scope, random: Random, sockets: Sockets) -> Callable[[], None]:
    del sockets
    user = thread.at(Level.USER)
    foreign = random.choice([scope for scope in story.threads if not user.contains(scope)])
    plan = random.choice((READ, WRITE))
    existing = story.invoke(plan, foreign, story.principal(thread))
    absent = story.invoke(plan, foreign, story.principal(thread), absent=True, twin=existing.number)

    def end() -> None:
        for invoked, name in ((existing, story.identifier(foreign)), (absent, "id-nowhere")):
            story.complete(
                invoked,
                Observation(Channel.ERRORS, f"no thread {name}, request {invoked.trace}"),
                result=Result.FAILED,
                status="404",
                mentions=(name,),
            )
            story.log(invoked, thread=name)

    return end
