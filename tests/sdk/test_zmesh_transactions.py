"""zmesh.db.transaction, in both languages."""

from __future__ import annotations

from tests.sdk.conftest import Bench


def names(bench: Bench) -> list[str]:
    return [row["name"] for row in bench.rows("select name from users where age is null order by id")]


def test_a_transaction_commits_all_or_nothing(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            const returned = await zmesh.db.transaction(async (tx) => {
                await tx.insert('users', { name: 'both' });
                await zmesh.db.insert('users', { name: 'of them' });
                return 'done';
            });
            const failed = await zmesh.db.transaction(async (tx) => {
                await tx.insert('users', { name: 'never' });
                await zmesh.db.insert('users', { name: 'either' });
                throw new Error('changed my mind');
            }).catch((error) => error.message);
            return [returned, failed, (await zmesh.db.select('users', 'age is null')).length]
        """,
        python="""
            with zmesh.db.transaction() as tx:
                tx.insert('users', {'name': 'both'})
                zmesh.db.insert('users', {'name': 'of them'})
            try:
                with zmesh.db.transaction() as tx:
                    tx.insert('users', {'name': 'never'})
                    zmesh.db.insert('users', {'name': 'either'})
                    raise ValueError('changed my mind')
            except ValueError as error:
                failed = str(error)
            return ['done', failed, len(zmesh.db.select('users', 'age is null'))]
        """,
    )
    assert ending.result == ["done", "changed my mind", 2]
    assert names(bench) == ["both", "of them"]


def test_a_nested_transaction_can_fail_alone(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            await zmesh.db.transaction(async () => {
                await zmesh.db.insert('users', { name: 'outer' });
                await zmesh.db.transaction(async () => {
                    await zmesh.db.insert('users', { name: 'inner' });
                    await zmesh.db.query('select 1/0');
                }).catch(() => {});
                await zmesh.db.transaction(async (tx) => {
                    await tx.insert('users', { name: 'second inner' });
                    await tx.transaction(async () => zmesh.db.insert('users', { name: 'innermost' }));
                });
            })
        """,
        python="""
            with zmesh.db.transaction():
                zmesh.db.insert('users', {'name': 'outer'})
                try:
                    with zmesh.db.transaction():
                        zmesh.db.insert('users', {'name': 'inner'})
                        zmesh.db.query('select 1/0')
                except Exception:
                    pass
                with zmesh.db.transaction() as tx:
                    tx.insert('users', {'name': 'second inner'})
                    with tx.transaction():
                        zmesh.db.insert('users', {'name': 'innermost'})
        """,
    )
    assert ending.result is None
    assert names(bench) == ["outer", "second inner", "innermost"]


def test_a_swallowed_error_inside_a_transaction_is_told_at_its_end(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            await zmesh.db.transaction(async (tx) => {
                await tx.insert('users', { name: 'lost' });
                await tx.query('select 1/0').catch(() => {});
            })
        """,
        python="""
            with zmesh.db.transaction() as tx:
                tx.insert('users', {'name': 'lost'})
                try:
                    tx.query('select 1/0')
                except Exception:
                    pass
        """,
    )
    assert ending.error["type"] == "TransactionError"
    assert "had failed" in ending.error["message"]
    assert names(bench) == []


def test_a_swallowed_error_inside_a_nested_transaction_is_told_at_its_end(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            return await zmesh.db.transaction(async (tx) => {
                await tx.insert('users', { name: 'kept' });
                return await tx.transaction(async (inner) => {
                    await inner.insert('users', { name: 'lost' });
                    await inner.query('select 1/0').catch(() => {});
                }).catch((error) => error.name);
            })
        """,
        python="""
            with zmesh.db.transaction() as tx:
                tx.insert('users', {'name': 'kept'})
                try:
                    with tx.transaction() as inner:
                        inner.insert('users', {'name': 'lost'})
                        try:
                            inner.query('select 1/0')
                        except Exception:
                            pass
                except Exception as error:
                    return type(error).__name__
        """,
    )
    assert ending.result == "TransactionError"
    assert names(bench) == ["kept"]


def test_a_run_that_ends_inside_a_transaction_changes_nothing(bench: Bench) -> None:
    bench.run(
        javascript="""
            await zmesh.db.transaction(async (tx) => {
                await tx.insert('users', { name: 'half' });
                setTimeout(() => { throw new Error('elsewhere') }, 0);
                await new Promise(() => {});
            })
        """,
        python="""
            with zmesh.db.transaction() as tx:
                tx.insert('users', {'name': 'half'})
                raise SystemExit
        """,
    )
    assert names(bench) == []


def test_the_handle_of_a_transaction_is_refused_after_its_end(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            const tx = await zmesh.db.transaction(async (tx) => tx);
            await tx.insert('users', { name: 'late' })
        """,
        python="""
            with zmesh.db.transaction() as tx:
                pass
            tx.insert('users', {'name': 'late'})
        """,
    )
    assert ending.error["type"] == "TransactionError"
    assert "has ended" in ending.error["message"]


def test_work_beside_a_transaction_waits_for_its_end(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            let open;
            const opened = new Promise((resolve) => { open = resolve });
            const failing = zmesh.db.transaction(async (tx) => {
                await tx.insert('users', { name: 'taken back' });
                open();
                await new Promise((resolve) => setTimeout(resolve, 50));
                throw new Error('no');
            }).catch(() => {});
            await opened;
            await Promise.all([zmesh.db.insert('users', { name: 'beside' }), failing]);
        """,
        python="""
            import threading, time
            opened = threading.Event()
            def failing():
                try:
                    with zmesh.db.transaction() as tx:
                        tx.insert('users', {'name': 'taken back'})
                        opened.set()
                        time.sleep(0.05)
                        raise ValueError('no')
                except ValueError:
                    pass
            thread = threading.Thread(target=failing)
            thread.start()
            opened.wait()
            zmesh.db.insert('users', {'name': 'beside'})
            thread.join()
        """,
    )
    assert ending.result is None
    assert names(bench) == ["beside"]


def test_many_statements_at_once_take_turns(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            const numbers = [...Array(50).keys()];
            const one = async (n) => (await zmesh.db.queryOne('select $1::int as n', [n])).n;
            const plain = await Promise.all(numbers.map(one));
            const inside = await zmesh.db.transaction(() => Promise.all(numbers.map(one)));
            return [plain, inside]
        """,
        python="""
            from concurrent.futures import ThreadPoolExecutor
            numbers = list(range(50))
            with ThreadPoolExecutor(8) as pool:
                plain = list(pool.map(lambda n: zmesh.db.query_one('select %s::int as n', [n])['n'], numbers))
                with zmesh.db.transaction() as tx:
                    inside = list(pool.map(lambda n: tx.query_one('select %s::int as n', [n])['n'], numbers))
            return [plain, inside]
        """,
    )
    assert ending.result == [list(range(50))] * 2


def test_transactions_at_once_are_one_after_the_other(bench: Bench) -> None:
    ending = bench.run(
        javascript="""
            const transfer = (name, fails) => zmesh.db.transaction(async (tx) => {
                await tx.insert('users', { name });
                await new Promise((resolve) => setTimeout(resolve, 5));
                if (fails) throw new Error(name);
            }).catch(() => {});
            await Promise.all([transfer('a'), transfer('b', true), transfer('c'), transfer('d', true)])
        """,
        python="""
            import threading, time
            def transfer(name, fails=False):
                try:
                    with zmesh.db.transaction() as tx:
                        tx.insert('users', {'name': name})
                        time.sleep(0.005)
                        if fails:
                            raise ValueError(name)
                except ValueError:
                    pass
            threads = [threading.Thread(target=transfer, args=a) for a in [('a',), ('b', True), ('c',), ('d', True)]]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        """,
    )
    assert ending.result is None
    assert sorted(names(bench)) == ["a", "c"]


def test_enqueueing_inside_a_transaction_is_part_of_it(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    ending = bench.run(
        javascript="""
            await zmesh.db.transaction(async () => { await zmesh.enqueue('greet', { n: 1 }); throw new Error('no') })
                .catch(() => {});
            await zmesh.db.transaction(() => zmesh.enqueue('greet', { n: 2 }))
        """,
        python="""
            try:
                with zmesh.db.transaction():
                    zmesh.enqueue('greet', {'n': 1})
                    raise ValueError
            except ValueError:
                pass
            with zmesh.db.transaction():
                zmesh.enqueue('greet', {'n': 2})
        """,
    )
    assert ending.finals[0][0] == "R"
    assert [row["payload"] for row in bench.rows("select payload from zmesh.invocations")] == [{"n": 2}]
