"""Golden layers for every router of reference/README.md section 12, in NumPy and in double, written from the definitions
and from nothing else: what tests/bench/program_routers_test.c and tests/reference/routers read.

Run by hand, from any folder, with NumPy (made with 2.4):

    python3 tests/golden/routers.py

Every layer has two equal rows of its gate and two equal tokens, so that ties are among what is selected from. Products
are summed in one order for all rows (no BLAS), so that equal rows give equal bits here too. Values that are compared and
not equal must differ by 1e-6, or the script stops.
"""

import math
import pathlib

import numpy as np

from layer import save

HERE = pathlib.Path(__file__).parent / "routers"
S, D, FF, N = 10, 8, 4, 4


def product(x, w):
    return (x[:, None, :].astype(np.float64) * w[None, :, :].astype(np.float64)).sum(axis=-1)


def softmax(l, axis=1):
    e = np.exp(l - l.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def logsumexp(l, axis):
    top = l.max(axis=axis, keepdims=True)
    return np.log(np.exp(l - top).sum(axis=axis)) + top.squeeze(axis)


def margin(values):
    gaps = np.diff(np.sort(np.asarray(values, np.float64).ravel()))
    assert all(gap == 0 or gap > 1e-6 for gap in gaps), f"a near tie of {min(g for g in gaps if g > 0):.1e}"


def order(values):
    """Indices by value descending, then by index ascending."""
    margin(values)
    return np.argsort(-np.asarray(values), kind="stable")


def top(score, k):
    return np.array([order(row)[:k] for row in score])


def capacity(m, n, c):
    return max(1, math.ceil(m * c / n))


def place(choice, limit, visit=None):
    """{(token, id): slot}, and what is refused."""
    taken, slots, refused = {}, {}, []
    for k in range(choice.shape[1]):
        for s in (range(len(choice)) if visit is None else visit):
            i = int(choice[s, k])
            if taken.get(i, 0) < limit(i):
                slots[int(s), i] = taken.get(i, 0)
                taken[i] = taken.get(i, 0) + 1
            else:
                refused.append((int(s), i))
    return slots, refused


def place_all(choice):
    slots, taken = {}, {}
    for s, row in enumerate(choice):
        for i in row:
            slots[s, int(i)] = taken.get(int(i), 0)
            taken[int(i)] = taken.get(int(i), 0) + 1
    return slots


def shares(choice, ids):
    return np.bincount(np.concatenate([np.ravel(row) for row in choice]).astype(int), minlength=ids) / len(choice)


def swiglu(x, w1, w3, w2):
    a, b = product(x, w1), product(x, w3)
    return product(a / (1 + np.exp(-a)) * b, w2)


class Layer:
    """Inputs of one layer, drawn from a seed; and a file made of them and of what is expected."""

    def __init__(self, seed, rows=N, columns=D, null_rows=0):
        random = np.random.default_rng(seed)

        def draw(*shape, scale=1.0):
            return (random.standard_normal(shape) * scale).astype(np.float32)

        self.draw, self.random = draw, random
        self.x = draw(S, D)
        self.x[6] = self.x[2]
        self.gate, self.gate2 = draw(rows, columns, scale=0.7), draw(null_rows, columns, scale=0.7)
        self.gate[rows - 1] = self.gate[0]
        self.w1, self.w3, self.w2 = draw(N, FF, D, scale=0.4), draw(N, FF, D, scale=0.4), draw(N, D, FF, scale=0.4)
        self.tensors = {"hidden_states": self.x}
        for e in range(N):
            for name in ("w1", "w2", "w3"):
                self.tensors[f"block_sparse_moe.experts.{e}.{name}.weight"] = getattr(self, name)[e].copy()

    def gates(self):
        self.tensors["block_sparse_moe.gate.weight"] = self.gate
        if len(self.gate2):
            self.tensors["block_sparse_moe.gate2.weight"] = self.gate2
        return product(self.x, np.concatenate([self.gate, self.gate2]))

    def expect(self, **values):
        for name, value in values.items():
            value = np.asarray(value)
            dtype = np.int64 if value.dtype.kind in "iu" else np.float32
            self.tensors["expected." + name.replace("__", ".")] = np.atleast_1d(value).astype(dtype)

    def expert(self, e, x):
        return swiglu(x, self.w1[e], self.w3[e], self.w2[e])

    def rows(self, slots, weight, self_scale=None, after=0.0):
        """Expects the plan of slots {(token, id): slot} and weights [S, ids], and the output."""
        rows = sorted((e, c, s) for (s, e), c in slots.items() if e < N)
        y = np.zeros((S, D))
        for e, c, s in rows:
            y[s] += weight[s, e] * self.expert(e, self.x[s:s + 1])[0]
        self.expect(index=np.array([(s, e, c) for e, c, s in rows], int).reshape(-1, 3),
                    dispatch=np.ones(len(rows)), combine=np.array([weight[s, e] for e, c, s in rows]),
                    dropped=np.array([s for s in range(S) if all(s != row[2] for row in rows)], int))
        if self_scale is not None:
            y += self_scale[:, None] * self.x
            self.expect(self_scale=self_scale)
        self.expect(output=y + after)
        return y

    def refuse(self, refused):
        self.expect(rejected=np.array(sorted(refused), int).reshape(-1, 2))

    def save(self, name, router, **parameters):
        metadata = {"router": router, "tokens": str(S), "hidden_size": str(D), "intermediate_size": str(FF),
                    "experts": str(N)}
        metadata |= {key: str(value) for key, value in parameters.items()}
        save(HERE / f"{name}.safetensors", {k: np.ascontiguousarray(v) for k, v in self.tensors.items()}, metadata)


def by_rule(name, seed, null_rows, k, norm, kind="zero"):
    layer = Layer(seed, null_rows=null_rows)
    l = layer.gates()
    ids, p, all_ids = top(l, k), softmax(l), N + null_rows
    weight, self_scale = np.zeros((S, all_ids)), np.zeros(S)
    for s in range(S):
        over = [i for i in ids[s] if i < N or norm == "all"]
        for i in ids[s]:
            if i >= N:
                self_scale[s] += p[s, i]
            else:
                weight[s, i] = p[s, i] if norm == "none" else 1 / sum(math.exp(l[s, j] - l[s, i]) for j in over)
    f, P = shares(ids, all_ids), p.mean(axis=0)
    averaged = np.concatenate([f[:N], np.full(null_rows, f[N:].mean() if null_rows else 0.0)])
    layer.expect(logits=l, scores=p, choice=ids, loss__switch=all_ids * (f @ P),
                 loss__null_averaged=all_ids * (averaged @ P))
    layer.rows(place_all(ids), weight, self_scale if kind == "identity" else None)
    more = {"null_kind": kind} if null_rows else {}
    layer.save(name, name if name == "top_k" else "adamoe", top_k=k, norm=norm, **more)


def sinkhorn(l, epsilon, iterations):
    u = np.zeros(S)
    for _ in range(iterations):
        v = math.log(S / N) - logsumexp(l / epsilon + u[:, None], 0)
        u = -logsumexp(l / epsilon + v[None, :], 1)
    return np.exp(u[:, None] + l / epsilon + v[None, :])


def token_choice(router, seed, k, c, transport=None, priority=0):
    layer = Layer(seed)
    l = layer.gates()
    A = softmax(l)
    score = A
    if transport:
        score = sinkhorn(l, **transport)
        layer.expect(plan=score)
    choice, C = top(score, k), capacity(S * k, N, c)
    visit = order(A[np.arange(S), choice[:, 0]]) if priority else None
    slots, refused = place(choice, lambda i: C, visit)
    mass = A.sum(axis=0)
    layer.expect(logits=l, scores=A, choice=choice, loss__gshard=N * (shares(choice[:, :1], N) @ A.mean(axis=0)),
                 loss__importance=(mass.std() / mass.mean()) ** 2)
    layer.refuse(refused)
    layer.rows(slots, A)
    layer.save(router, router, top_k=k, capacity_factor=c, capacity=C, **(transport or {}),
               **({"batch_priority": 1} if priority else {}))


def expert_choice(router, seed, c, transport=None):
    layer = Layer(seed)
    l = layer.gates()
    A = softmax(l)
    score = A
    if transport:
        score = sinkhorn(l, **transport)
        layer.expect(plan=score)
    C = min(S, capacity(S, N, c))
    slots = {(int(s), e): rank for e in range(N) for rank, s in enumerate(order(score[:, e])[:C])}
    layer.expect(logits=l, scores=A)
    layer.rows(slots, A)
    layer.save(router, router, capacity_factor=c, capacity=C, **(transport or {}))


def sparse_expert_choice(seed, c, gamma, iterations, rate):
    layer = Layer(seed)
    l = layer.gates()
    A, b, C = softmax(l), S / N, min(S, capacity(S, N, c))

    def plan(alpha):
        T = np.zeros((S, N))
        for e in range(N):
            z = (alpha + A[:, e]) / (gamma * b)
            best = order(z)[:C]
            thresholds = (np.cumsum(z[best]) - 1) / np.arange(1, C + 1)
            tau = thresholds[np.flatnonzero(z[best] > thresholds)[-1]]
            T[best, e] = b * np.maximum(z[best] - tau, 0)
        return T

    alpha, m, v = np.zeros(S), np.zeros(S), np.zeros(S)
    for t in range(1, iterations + 1):
        g = plan(alpha).sum(axis=1) - 1
        assert np.abs(g).min() > 1e-6, "a gradient near 0"
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        alpha = alpha - rate * (m / (1 - 0.9 ** t)) / (np.sqrt(v / (1 - 0.999 ** t)) + 1e-8)
    T = plan(alpha)
    slots = {(int(s), e): r for e in range(N) for r, s in enumerate(order(T[:, e])) if T[s, e] > 0}
    layer.expect(logits=l, scores=A, plan=T)
    layer.rows(slots, A)
    layer.save("sparse_expert_choice", "sparse_expert_choice", capacity_factor=c, gamma=gamma, iterations=iterations,
               learning_rate=rate, capacity=C)


def soft_moe(seed, c, epsilon):
    layer = Layer(seed)
    p = max(1, round(S * c / N))  # Python rounds half to even
    phi, scale = layer.draw(N * p, D), np.array([1.7], np.float32)
    layer.tensors |= {"router.phi": phi, "router.scale": scale}
    x, mu = layer.x.astype(np.float64), phi.astype(np.float64)
    hat = [a / (np.linalg.norm(a, axis=1, keepdims=True) + epsilon) for a in (x, mu)]
    l = float(scale[0]) * product(*hat)
    dispatch, combine = softmax(l, 0), softmax(l, 1)
    slots = dispatch.T @ x
    y = sum(combine[:, e * p:(e + 1) * p] @ layer.expert(e, slots[e * p:(e + 1) * p]) for e in range(N))
    layer.expect(logits=l, dispatch=dispatch.reshape(S, N, p), combine=combine.reshape(S, N, p), slots=slots, output=y)
    layer.save("soft_moe", "soft_moe", capacity_factor=c, norm_epsilon=epsilon, capacity=p)


def locality(layer, p, nodes, eta, mu):
    home = (np.arange(S) * nodes // S + (np.arange(S) % 3 == 0)) % nodes
    layer.tensors["router.home"] = home.astype(np.int64)
    loss = 0.0
    for h in range(nodes):
        current = p[home == h].mean(axis=0)
        own = np.arange(N) // (N // nodes) == h
        wanted = eta / N + (1 - eta) / (N // nodes) * own
        loss += mu * (home == h).mean() * (current * np.log(current / wanted)).sum()
    return loss


def cosine_tail(delta, d):
    """P(|cos| >= delta) by Simpson's rule over the angle, whose density goes with sin^(d-2)."""
    def integral(a, b):
        t = np.linspace(a, b, 20001)
        w = np.ones(20001)
        w[1:-1:2], w[2:-1:2] = 4, 2
        return (w * np.sin(t) ** (d - 2)).sum() * (b - a) / 60000
    return 2 * integral(0, math.acos(delta)) / integral(0, math.pi)


def locmoe(name, seed, c, delta=None):
    layer = Layer(seed)
    layer.x[4] = -np.abs(layer.x[4])
    g = np.maximum(layer.x.astype(np.float64).reshape(S, N, D // N).mean(axis=-1), 0)
    p, choice, C = softmax(g), top(g, 1), capacity(S, N, c)
    if delta is not None:
        bound = 1 / (N * cosine_tail(delta, D))
        layer.expect(capacity_bound=bound)
        C = max(C, math.ceil(bound))
    slots, refused = place(choice, lambda i: min(S, C))
    layer.expect(logits=g, scores=p, choice=choice, loss__balance=0.01 * N * (shares(choice, N) @ p.mean(axis=0)),
                 loss__locality=locality(layer, p, 2, 0.1, 0.01))
    layer.refuse(refused)
    layer.rows(slots, p)
    layer.save(name, "locmoe", capacity_factor=c, nodes=2, capacity=min(S, C),
               **({} if delta is None else {"delta": delta}))


def locmoe_plus(name, seed, k, c=None, delta_max=None, theta=1.0, temperature=1.0):
    layer = Layer(seed)
    x = layer.x.astype(np.float64)
    affinity = x.reshape(S, N, D // N).sum(axis=-1) / (np.sqrt((x * x).sum(axis=1, keepdims=True)) * math.sqrt(D / N))
    p, choice = softmax(affinity / temperature), top(affinity, k)
    if c is None:
        bound = math.exp(D * delta_max ** 2 / (2 - delta_max ** 2)) / N
        layer.expect(capacity_bound=bound)
        C = math.ceil(bound)
    else:
        C = capacity(S * k, N, c)
    C, slots, refused = min(max(C, 1), S), {}, []
    for e in range(N):
        proposers = np.flatnonzero((choice == e).any(axis=1))
        ranked = proposers[order(affinity[proposers, e])]
        positive = np.maximum(affinity[ranked, e], 0)
        kept = C
        if theta < 1:
            kept = min(C, int(np.argmax(np.append(0, np.cumsum(positive)) >= theta * positive.sum())))
        slots |= {(int(s), e): rank for rank, s in enumerate(ranked[:kept])}
        refused += [(int(s), e) for s in ranked[kept:]]
    layer.expect(affinity=affinity, scores=p, choice=choice,
                 loss__balance=0.01 * N * (shares(choice, N) @ p.mean(axis=0)),
                 loss__locality=locality(layer, p, 2, 0.1, 0.01))
    layer.refuse(refused)
    layer.rows(slots, p)
    rule = {"capacity_rule": "bound", "delta_max": delta_max} if c is None else {"capacity_factor": c}
    layer.save(name, "locmoe_plus", top_k=k, affinity_share=theta, temperature=temperature, nodes=2, capacity=C, **rule)


def memoe(seed, k, strength, width=3, anchors=2):
    layer = Layer(seed, columns=D + width)
    layer.tensors |= {"router.anchors": layer.draw(anchors, width),
                      "router.anchor_id": np.array([s % (anchors + 1) - 1 for s in range(S)], np.int64)}
    a = np.concatenate([np.zeros((1, width), np.float32), layer.tensors["router.anchors"]])
    layer.tensors["block_sparse_moe.gate.weight"] = layer.gate
    l = product(np.concatenate([layer.x, a[layer.tensors["router.anchor_id"] + 1]], axis=1), layer.gate)
    G, choice = softmax(l), top(l, k)
    base = [layer.draw(FF, D), layer.draw(FF, D), layer.draw(D, FF)]
    for name, w in zip(("gate_proj", "up_proj", "down_proj"), base):
        layer.tensors[f"mlp.{name}.weight"] = w
    y0 = swiglu(layer.x, base[0], base[1], base[2])
    layer.expect(logits=l, scores=G, choice=choice, base_output=y0)
    layer.expect(expert_output=layer.rows(place_all(choice), strength * G, after=y0))
    layer.save("memoe", "memoe", top_k=k, **{"lambda": strength}, anchors=anchors, anchor_size=width)


def top_p(name, seed, tau, most=N):
    layer = Layer(seed)
    layer.x[3] = 0  # every p is 1/n, and their sums meet tau exactly
    l = layer.gates()
    p, chosen = softmax(l), []
    for s in range(S):
        ranked, total = order(p[s]), 0.0
        chosen.append([])
        while len(chosen[s]) < most and not total > tau:
            chosen[s].append(ranked[len(chosen[s])])
            total += p[s, chosen[s][-1]]
            assert total == tau or abs(total - tau) > 1e-6
    layer.expect(logits=l, scores=p, number=np.array([len(c) for c in chosen]),
                 loss__balance=0.01 * N * (shares(chosen, N) @ p.mean(axis=0)),
                 loss__dynamic=1e-4 * -(p * np.log(p)).sum(axis=1).mean())
    layer.rows(place_all(chosen), p)
    layer.save(name, "top_p", tau=tau, **({} if most == N else {"most": most}))


def loss_free(name, seed, k, score, normalise, scale, groups, kept):
    layer = Layer(seed)
    l = layer.gates()
    bias = layer.draw(N, scale=0.05)
    bias[N - 1] = bias[0]
    layer.tensors["router.bias"] = bias
    s_ = 1 / (1 + np.exp(-l)) if score == "sigmoid" else softmax(l)
    q = s_ + bias.astype(np.float64)
    if groups > 1:
        worth = np.sort(q.reshape(S, groups, -1), axis=-1)[:, :, -2:].sum(axis=-1)
        best = top(worth, kept)
        for s in range(S):
            for g in set(range(groups)) - set(best[s]):
                q[s, g * (N // groups):(g + 1) * (N // groups)] = -np.inf
    choice = np.array([order(np.where(np.isinf(row), -1e9, row))[:k] for row in q])
    weight = np.zeros((S, N))
    for s in range(S):
        w = s_[s, choice[s]]
        weight[s, choice[s]] = (w / (w.sum() + 1e-20) if normalise else w) * scale
    count = shares(choice, N) * S
    layer.expect(logits=l, scores=s_, choice=choice, bias_next=bias + 0.01 * np.sign(S * k / N - count),
                 loss__max_violation=count.max() / (S * k / N) - 1)
    layer.rows(place_all(choice), weight)
    layer.save(name, "loss_free", top_k=k, score=score, normalise=normalise, scale=scale, rate=0.01, groups=groups,
               groups_kept=kept)


def longcat(seed, k, expected, scale, groups):
    layer, Z, alpha, rate = Layer(seed, null_rows=2), 2, 0.5, 0.01
    l = layer.gates()
    bias = np.concatenate([layer.draw(N, scale=0.02), np.zeros(Z, np.float32)])
    layer.tensors["router.bias"] = bias
    p = softmax(l)
    choice = top(p + bias.astype(np.float64), k)
    weight = np.zeros((S, N + Z))
    np.put_along_axis(weight, choice, scale * np.take_along_axis(p, choice, 1), 1)
    count, P = shares(choice, N + Z) * S, p.mean(axis=0)
    loss = sum(groups / (expected * S) * part.sum() * mass.sum()
               for part, mass in zip(np.split(count[:N], groups), np.split(P[:N], groups)))
    loss += count[N:].sum() / ((k - expected) * S) * P[N:].sum()
    following = bias.astype(np.float64)
    following[:N] += rate * (expected / (k * N) - count[:N] / (k * S))
    layer.expect(logits=l, scores=p, choice=choice, bias_next=following, loss__balance=alpha * loss,
                 loss__mean_true=count[:N].sum() / S)
    layer.rows(place_all(choice), weight, weight[:, N:].sum(axis=1))
    layer.save("longcat", "longcat", top_k=k, expected_k=expected, scale=scale, rate=rate, groups=groups, alpha=alpha,
               identity=Z)


def moe_plus_plus(name, seed, k, norm, constant, copy, zero, gamma=None, residual=False):
    Z, tau, beta = constant + copy + zero, 0.75, 0.01
    layer = Layer(seed, null_rows=Z)
    l = layer.gates()
    if residual:
        R, before = layer.draw(N + Z, N + Z, scale=0.3), layer.draw(S, N + Z)
        layer.tensors |= {"router.residual.weight": R, "router.previous_logits": before}
        l = l + product(before, R)
    p = softmax(l)
    choice = top(p, k)
    weight = np.zeros((S, N + Z))
    for s in range(S):
        w = p[s, choice[s]]
        if norm == "nonzero":
            total = w[choice[s] < N + Z - zero].sum()
            w = w / total if total > 0 else 0 * w
        weight[s, choice[s]] = w
    limits, more = (lambda i: S), {}
    if gamma is not None:
        of_true, of_others = (math.ceil(gamma * t * S / (tau * N + Z)) for t in (tau, 1.0))
        limits, more = (lambda i: of_true if i < N else of_others), {"capacity_factor": gamma, "capacity": of_true}
        layer.expect(capacity_zero_computation=of_others)
    slots, refused = place(choice, limits)
    self_scale, constant_weight, after = np.zeros(S), np.zeros((S, constant)), np.zeros((S, D))
    for c in range(constant):
        layer.tensors |= {f"router.constant.{c}.gate": layer.draw(2, D), f"router.constant.{c}.vector": layer.draw(D)}
        a = softmax(product(layer.x, layer.tensors[f"router.constant.{c}.gate"]))
        took = np.array([(s, N + c) in slots for s in range(S)])
        self_scale += np.where(took, weight[:, N + c] * a[:, 0], 0)
        constant_weight[:, c] = np.where(took, weight[:, N + c] * a[:, 1], 0)
        after += constant_weight[:, c:c + 1] * layer.tensors[f"router.constant.{c}.vector"]
    for i in range(N + constant, N + constant + copy):
        self_scale += np.array([weight[s, i] if (s, i) in slots else 0.0 for s in range(S)])
    eta = np.where(np.arange(N + Z) < N, 1.0, tau)
    layer.expect(logits=l, scores=p, choice=choice, constant_weight=constant_weight,
                 loss__balance=beta * (eta * shares(choice, N + Z) * p.mean(axis=0)).sum())
    layer.refuse(refused)
    layer.rows(slots, weight, self_scale, after)
    layer.save(name, "moe_plus_plus", top_k=k, norm=norm, tau=tau, beta=beta, constant=constant, copy=copy, zero=zero,
               **more)


def null_copies(seed, k, rho):
    layer = Layer(seed, null_rows=1)
    layer.gate2[0] = layer.gate[1]  # a true expert that ties with all copies
    l = layer.gates()
    M = math.floor(N * (1 - rho) / rho + 0.5)
    l = np.concatenate([l[:, :N]] + [l[:, N:]] * M, axis=1)
    p, choice, weight = softmax(l), top(l, k), np.zeros((S, N + M))
    for s in range(S):
        chosen = [i for i in choice[s] if i < N]
        for i in chosen:
            weight[s, i] = 1 / sum(math.exp(l[s, j] - l[s, i]) for j in chosen)
    layer.expect(logits=l, scores=p, choice=choice,
                 loss__balance=0.02 * (N + M) * (shares(choice, N + M) @ p.mean(axis=0)),
                 loss__z=0.001 * (logsumexp(l, 1) ** 2).mean(), loss__mean_true=(choice < N).sum() / S)
    layer.rows(place_all(choice), weight)
    layer.save("null_copies", "null_copies", top_k=k, rho=rho)


def remoe(seed, k, strength):
    layer = Layer(seed)
    l = layer.gates()
    w = np.maximum(l, 0)
    margin(np.append(w, 0))
    count = (w > 0).sum(axis=0)
    sparsity = 1 - count.sum() / (S * N)
    layer.expect(logits=l, scores=w, loss__l1=(N / (k * S) * count * w).sum() / S, loss__sparsity=sparsity,
                 loss__lambda_next=strength * 1.2 ** np.sign(1 - k / N - sparsity))
    layer.rows(place_all([np.flatnonzero(row > 0) for row in w]), w)
    layer.save("remoe", "remoe", target_k=k, **{"lambda": strength})


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    by_rule("adamoe", 1, 4, 3, "true", "identity")
    by_rule("top_k", 2, 0, 2, "none")
    token_choice("softmax_token_choice", 3, 2, 0.8, priority=1)
    token_choice("sinkhorn_token_choice", 4, 2, 0.9, {"epsilon": 0.5, "iterations": 3})
    expert_choice("softmax_expert_choice", 5, 1.2)
    expert_choice("sinkhorn_expert_choice", 6, 1.0, {"epsilon": 1.5, "iterations": 4})
    sparse_expert_choice(7, 1.4, 0.5, 12, 0.02)
    soft_moe(8, 1.0, 0.05)
    locmoe("locmoe", 9, 1.0)
    locmoe("locmoe_bound", 10, 0.5, 0.7)
    locmoe_plus("locmoe_plus", 11, 2, c=0.6)
    locmoe_plus("locmoe_plus_bound", 12, 2, delta_max=0.75, theta=0.6, temperature=0.5)
    memoe(13, 2, 0.3)
    top_p("top_p", 14, 0.85, 2)
    top_p("top_p_strict", 22, 0.5)
    loss_free("loss_free", 15, 2, "sigmoid", 1, 2.5, 2, 1)
    loss_free("loss_free_softmax", 16, 2, "softmax", 0, 1.5, 1, 1)
    longcat(17, 3, 1.75, 2.0, 2)
    moe_plus_plus("moe_plus_plus", 18, 3, "nonzero", 2, 1, 1, residual=True)
    moe_plus_plus("moe_plus_plus_capacity", 19, 2, "none", 1, 1, 2, gamma=1.6)
    null_copies(20, 3, 0.6)
    remoe(21, 1.5, 1e-3)
