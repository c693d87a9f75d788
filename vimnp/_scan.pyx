# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: embedsignature=False, freethreading_compatible=False
"""Compiled kernels: causal conv1d, the selective scans and the norm, split among threads; and, in
``_program.pxi``, the programs of whole networks.

Arrays are token-major float32, (tokens, channels), rows contiguous. Nothing is checked here beyond
what keeps memory safe: :mod:`vimnp.ops` does that. Names and meanings are those of
:mod:`vimnp.ops.kernels`, and of :mod:`vimnp.engine.program` for programs.
"""

from libc.stdlib cimport calloc, free, malloc

cdef extern from "isa.h" nogil:
    const int MAX_STATES
    const int MAX_TAPS
    const int MAX_KERNEL
    const int CHUNK
    const int CHAINS
    const int LINE
    const int SMALL_PANEL
    const int SHARED
    const int ROWS_AT_ONCE
    const int FLOATS_OF_BLOCK

    struct filter:
        const float *weight
        const float *bias
        float *out
        Py_ssize_t out_stride

    struct extent:
        Py_ssize_t begin, end

    struct convolution:
        Py_ssize_t length, channels
        extent positions
        int taps, silu, directions, coarse
        const float *x
        Py_ssize_t x_stride
        filter filters[2]
        float *state

    Py_ssize_t last_position(const convolution *c)

    struct convolution_2d:
        Py_ssize_t height, width, channels
        extent tokens
        int kernel, silu, coarse
        const float *x
        const float *weight
        const float *bias
        float *out
        Py_ssize_t x_stride, out_stride

    struct elements:
        const float *x
        float *out

    enum activation:
        ACTIVATION_NONE
        ACTIVATION_GELU
        ACTIVATION_RELU

    enum dtype:
        DTYPE_FLOAT32
        DTYPE_BFLOAT16
        DTYPE_INT8
        DTYPE_INT4
        DTYPE_INT8_PER_CHANNEL

    struct matrix:
        Py_ssize_t inputs, outputs
        dtype dtype
        const float *panels
        const void *codes
        const unsigned short *scales
        const float *scale_of_output
        const float *factors
        int dots

    Py_ssize_t product_scratch(const matrix *m, Py_ssize_t rows)

    struct kept_rows

    struct product_task "product":
        matrix weights
        activation activation
        const float *x
        const float *addend
        const float *bias
        float *out
        Py_ssize_t x_stride, addend_stride, out_stride
        bint is_quantised
        float *scratch
        kept_rows *kept

    struct walk:
        Py_ssize_t first, stride, length, line_stride, lines

    bint walk_fits(const walk *w, Py_ssize_t rows)

    struct scan:
        Py_ssize_t length, channels
        int d_state, delta_softplus, fixlen, B_constant, C_constant, accumulate, coarse
        float scale
        const float *u
        const float *delta
        const float *A
        const float *B
        const float *C
        const float *D
        const float *z
        const float *delta_bias
        Py_ssize_t u_stride, delta_stride, B_stride, C_stride, z_stride, out_stride
        float *out
        const float *initial_state
        float *last_state
        product_task dt_proj
        walk walk

    struct scans:
        int directions
        const scan *of_direction

    struct add_norm:
        Py_ssize_t length, channels
        float *residual
        float *out
        const float *hidden
        const float *weight
        const float *bias
        const float *gate
        Py_ssize_t residual_stride, hidden_stride, out_stride, gate_stride
        float epsilon
        activation activation

    enum function:
        FUNCTION_EXP
        FUNCTION_SOFTPLUS
        FUNCTION_SILU
        FUNCTION_GELU
        FUNCTION_COARSE_SOFTPLUS
        FUNCTION_COARSE_SILU

    ctypedef void (*part_function)(
        const void *task, Py_ssize_t begin, Py_ssize_t end
    ) noexcept nogil

    struct member:
        pass

    ctypedef void (*member_function)(const void *task, member member) noexcept nogil

    void run_parts(
        part_function call, const void *task, Py_ssize_t length, Py_ssize_t grain, int num_threads
    )

    struct kernels:
        int width, panel, rows
        part_function convolve
        part_function convolve_2d
        part_function scan
        part_function add_norm
        part_function gelu
        member_function forward
        void (*product)(const product_task *p, extent rows, extent columns) noexcept nogil
        float (*multiply_adds)(Py_ssize_t rounds, float factor) noexcept nogil
        void (*apply)(function, const float *x, float *out, Py_ssize_t length) noexcept nogil

    struct instruction_set:
        const char *name
        const kernels *kernels
        int dots, available

    enum:
        MOST_SETS

    int list_instruction_sets(instruction_set *sets)

    int count_threads(int num_threads, double seconds)

    const int VIMNP_OPENMP
    const int VIMNP_POOL
    const int VIMNP_IMITATED

cdef extern from *:
    const char *VIMNP_VERSION

version = VIMNP_VERSION.decode()  # of the sources that this was compiled from
OPENMP = bool(VIMNP_OPENMP)
POOL = bool(VIMNP_POOL)  # of our own threads, where there is no OpenMP
IMITATED = bool(VIMNP_IMITATED)  # AVX-512, with AVX2: for tests
MAX_D_STATE = MAX_STATES
MAX_D_CONV = MAX_TAPS

cdef instruction_set _sets[MOST_SETS]
cdef int _number_of_sets = list_instruction_sets(_sets)


def instruction_sets():
    """Names of the instruction sets that were compiled in, fastest first -> usable here?"""
    return {_sets[i].name.decode(): bool(_sets[i].available) for i in range(_number_of_sets)}


def threads_that_come(int num_threads, double seconds):
    """How many threads there are in a region for so many, if they wait so long for each other."""
    _expect(num_threads >= 1, "num_threads")
    with nogil:
        number = count_threads(num_threads, seconds)
    return number


cdef class Kernels:
    """The kernels of an instruction set, by default the fastest that this machine has.

    KeyError if it is not usable here.
    """

    cdef const kernels *table
    cdef int dots  # see struct instruction_set
    cdef readonly str name

    def __cinit__(self, str name=None):
        for i in range(_number_of_sets):
            known = _sets[i].name.decode()
            if _sets[i].available and (name is None or name == known):
                self.table, self.dots, self.name = _sets[i].kernels, _sets[i].dots, known
                return
        raise KeyError(name)

    @property
    def width(self):
        """Floats in a vector."""
        return self.table.width

    @property
    def panel(self):
        """Outputs in a panel of a packed matrix; see vimnp.engine.packing."""
        return self.table.panel

    @property
    def inputs_at_once(self):
        """Inputs that go through a program together, at most."""
        return MAX_INPUTS

    def program(self, object described):
        """A program of vimnp.engine.program whose matrices are packed in such panels."""
        return Program(self, described)

    def apply(self, str name not None, const float[::1] x not None, float[::1] out not None):
        """The kernels' own function of that name of every element of x, into out."""
        functions = {
            "exp": FUNCTION_EXP, "softplus": FUNCTION_SOFTPLUS, "silu": FUNCTION_SILU, "gelu": FUNCTION_GELU,
            "coarse softplus": FUNCTION_COARSE_SOFTPLUS, "coarse silu": FUNCTION_COARSE_SILU,
        }
        _expect(x.shape[0] == out.shape[0], "out")
        if x.shape[0]:
            self.table.apply(functions[name], &x[0], &out[0], x.shape[0])

    def causal_conv1d(
        self, const float[:, :] x, tuple filters not None, tuple outs not None,
        *, bint silu, int num_threads, float[:, ::1] state=None, bint coarse=False,
    ):
        """Convolve forward, or forward and backward; see vimnp.ops.kernels."""
        cdef convolution c
        cdef const float[:, ::1] weight
        cdef const float[::1] bias
        cdef float[:, :] out
        c.length, c.channels, c.silu, c.coarse = x.shape[0], x.shape[1], silu, coarse
        c.directions = len(filters)
        _expect(1 <= c.directions <= 2, "filters")
        _expect(len(outs) == c.directions, "outs")
        c.taps = len(filters[0][0])
        _expect(1 <= c.taps <= MAX_TAPS, "d_conv")
        _expect_shape(x, c.length, c.channels, "x")
        views = []  # keeps the buffers alive until the convolution is through
        for i in range(c.directions):
            weight, bias, out = filters[i][0], filters[i][1], outs[i]
            _expect_shape(weight, c.taps, c.channels, "weight")
            _expect(bias is None or bias.shape[0] == c.channels, "bias")
            _expect_shape(out, c.length, c.channels, "out")
            views.append((weight, bias, out))
            if c.length and c.channels:
                c.filters[i].weight = &weight[0, 0]
                c.filters[i].bias = NULL if bias is None else &bias[0]
                c.filters[i].out, c.filters[i].out_stride = &out[0, 0], _stride(out, False)
        _expect(state is None or c.directions == 1, "state")
        if state is not None:
            _expect_shape(state, c.taps - 1, c.channels, "state")
        if c.length == 0 or c.channels == 0:
            return
        c.state = NULL if state is None or c.taps == 1 else &state[0, 0]
        c.x, c.x_stride = &x[0, 0], _stride(x, False)
        c.positions.begin, c.positions.end = 0, last_position(&c)

        cdef const kernels *table = self.table
        with nogil:
            run_parts(table.convolve, &c, c.channels, table.width, num_threads)

    def conv2d(
        self, const float[:, :] x, const float[:, ::1] weight, const float[::1] bias, float[:, :] out,
        *, tuple grid not None, bint silu, int num_threads, bint coarse=False,
    ):
        """Convolve a grid of tokens; see vimnp.ops.kernels."""
        cdef convolution_2d c
        c.height, c.width = grid
        c.channels, c.silu, c.coarse = x.shape[1], silu, coarse
        _expect(c.height >= 0 and c.width >= 0 and c.height * c.width == x.shape[0], "grid")
        c.kernel = 1
        while c.kernel * c.kernel < weight.shape[0]:
            c.kernel += 2
        _expect(c.kernel <= MAX_KERNEL, "kernel")
        _expect_shape(x, x.shape[0], c.channels, "x")
        _expect_shape(weight, c.kernel * c.kernel, c.channels, "weight")
        _expect(bias is None or bias.shape[0] == c.channels, "bias")
        _expect_shape(out, x.shape[0], c.channels, "out")
        if x.shape[0] == 0 or c.channels == 0:
            return
        c.x, c.x_stride = &x[0, 0], _stride(x, False)
        c.out, c.out_stride = &out[0, 0], _stride(out, False)
        c.weight, c.bias = &weight[0, 0], NULL if bias is None else &bias[0]
        c.tokens.begin, c.tokens.end = 0, x.shape[0]

        cdef const kernels *table = self.table
        with nogil:
            run_parts(table.convolve_2d, &c, c.channels, table.width, num_threads)

    def gelu(self, const float[::1] x not None, float[::1] out not None, *, int num_threads):
        """The GELU of every element of x, into out, which may be x."""
        cdef elements e
        _expect(x.shape[0] == out.shape[0], "out")
        if x.shape[0] == 0:
            return
        e.x, e.out = &x[0], &out[0]
        cdef Py_ssize_t length = x.shape[0]
        cdef const kernels *table = self.table
        with nogil:
            run_parts(table.gelu, &e, length, CHUNK * LINE, num_threads)

    def fused_add_norm(
        self, float[:, :] residual, const float[:, :] hidden, const float[::1] weight,
        const float[::1] bias, float[:, :] out, *, float epsilon, int num_threads,
        const float[:, :] gate=None,
    ):
        """residual += hidden, out = norm(residual) * silu(gate); see vimnp.ops.kernels."""
        cdef add_norm n
        n.length, n.channels, n.epsilon = residual.shape[0], residual.shape[1], epsilon
        _expect_shape(residual, n.length, n.channels, "residual")
        _expect(weight.shape[0] == n.channels, "weight")
        _expect(bias is None or bias.shape[0] == n.channels, "bias")
        _expect_shape(out, n.length, n.channels, "out")
        if hidden is not None:
            _expect_shape(hidden, n.length, n.channels, "hidden")
        if n.length == 0 or n.channels == 0:
            return
        n.residual, n.residual_stride = &residual[0, 0], _stride(residual, False)
        n.out, n.out_stride = &out[0, 0], _stride(out, False)
        n.weight, n.bias = &weight[0], NULL if bias is None else &bias[0]
        n.activation = ACTIVATION_NONE
        n.gate, n.gate_stride = NULL, 0
        if gate is not None:
            _expect_shape(gate, n.length, n.channels, "gate")
            n.gate, n.gate_stride = &gate[0, 0], _stride(gate, False)
        n.hidden, n.hidden_stride = NULL, 0
        if hidden is not None:
            n.hidden, n.hidden_stride = &hidden[0, 0], _stride(hidden, False)

        cdef const kernels *table = self.table
        with nogil:
            run_parts(table.add_norm, &n, n.length, CHUNK, num_threads)

    def selective_scan(
        self, tuple directions not None, const float[:, :] z, float[:, :] out,
        *, bint delta_softplus, bint fixlen, bint fused, float scale, tuple last_states, int num_threads,
        tuple initial_states=None, tuple walks=None, bint coarse=False,
    ):
        """Scan in one direction, or in two and add up, or in some with walks; see vimnp.ops.kernels."""
        cdef scan of_direction[4]
        cdef Py_ssize_t number = len(directions)
        cdef Py_ssize_t channels = out.shape[1], length = out.shape[0]
        cdef bint reverses = walks is None  # the second direction
        _expect(1 <= number <= (2 if reverses else MAX_DIRECTIONS), "directions")
        _expect(reverses or (len(walks) == number and not fixlen), "walks")
        _expect_shape(out, length, channels, "out")
        views = []  # keeps the buffers alive until the scans are through
        for i in range(number):
            of_direction[i].length, of_direction[i].channels = length, channels
            of_direction[i].delta_softplus, of_direction[i].fixlen = delta_softplus, fixlen
            of_direction[i].accumulate, of_direction[i].scale = i > 0, 1.0
            of_direction[i].z = of_direction[i].initial_state = of_direction[i].last_state = NULL
            of_direction[i].out, of_direction[i].out_stride = NULL, 0
            of_direction[i].dt_proj.weights.inputs, of_direction[i].coarse = 0, coarse
            views.append(_fill(&of_direction[i], directions[i], reverses and i > 0))
            if length:
                of_direction[i].walk = _walk(None if reverses else walks[i], length)
                _expect(reverses or not (of_direction[i].B_constant or of_direction[i].C_constant), "walks")
            _expect(
                not coarse or not (fixlen or of_direction[i].B_constant or of_direction[i].C_constant), "coarse"
            )
        cdef const float[:, ::1] initial_state
        cdef float[:, ::1] last_state
        if initial_states is not None:
            for i in range(number):
                initial_state = initial_states[i]
                _expect_shape(initial_state, of_direction[i].d_state, channels, "initial_state")
                of_direction[i].initial_state = &initial_state[0, 0]
                views.append(initial_state)
        if last_states is not None:
            for i in range(number):
                last_state = last_states[i]
                _expect_shape(last_state, of_direction[i].d_state, channels, "last_state")
                of_direction[i].last_state = &last_state[0, 0]
                views.append(last_state)
        if length == 0 or channels == 0:
            return
        for i in range(number):
            of_direction[i].out = <float *> _first(out, reverses and i > 0)
            of_direction[i].out_stride = _stride(out, reverses and i > 0)
        # The last direction finds the sum complete: it gates and scales.
        cdef scan *last = &of_direction[number - 1]
        last.scale = scale
        if z is not None:
            _expect_shape(z, length, channels, "z")
            last.z, last.z_stride = _first(z, reverses and number > 1), _stride(z, reverses and number > 1)
        _run(self.table, of_direction, number, fused, num_threads)

    def product(
        self, const float[:, :] x, object panels not None, const float[:, :] addend,
        float[:, :] out, *, tuple rows not None, tuple columns not None,
    ):
        """out = addend + x @ weights in these rows, and in these columns: whole vectors.

        The weights are packed panels, or encoded.
        """
        cdef product_task p
        cdef extent of_rows, of_columns
        cdef Py_ssize_t width = self.table.width
        cdef list views = []  # keeps the weights alive
        factors = None if getattr(panels, "smooth", None) is None else 1 / panels.smooth
        p.weights = _matrix(panels, factors, x.shape[1], out.shape[1], width, views, "panels")
        p.weights.dots = self.dots
        of_rows.begin, of_rows.end = rows
        of_columns.begin, of_columns.end = columns
        _expect_shape(x, out.shape[0], p.weights.inputs, "x")
        _expect_shape(out, out.shape[0], p.weights.outputs, "out")
        _expect(0 <= of_rows.begin <= of_rows.end <= out.shape[0], "rows")
        _expect(0 <= of_columns.begin <= of_columns.end <= p.weights.outputs, "columns")
        _expect(of_columns.begin % width == 0, "columns")
        p.addend, p.addend_stride, p.bias = NULL, 0, NULL
        p.activation = ACTIVATION_NONE
        if addend is not None:
            _expect_shape(addend, out.shape[0], p.weights.outputs, "addend")
            p.addend, p.addend_stride = &addend[0, 0], _stride(addend, False)
        p.x, p.x_stride = &x[0, 0], _stride(x, False)
        p.out, p.out_stride = &out[0, 0], _stride(out, False)
        p.is_quantised, p.kept = False, NULL
        p.scratch = <float *> malloc(product_scratch(&p.weights, of_rows.end - of_rows.begin) * sizeof(float))
        if p.scratch == NULL:
            raise MemoryError
        with nogil:
            self.table.product(&p, of_rows, of_columns)
            free(p.scratch)

    def multiply_adds(self, Py_ssize_t rounds):
        """Multiply-adds without memory, to be timed; returns how many there were."""
        cdef const kernels *table = self.table
        with nogil:
            table.multiply_adds(rounds, 0.5)
        return rounds * CHAINS * table.width


cdef matrix _matrix(
    object weights, object factors, Py_ssize_t inputs, Py_ssize_t outputs, Py_ssize_t width, list views,
    str name,
) except *:
    """Of the float32 panels that were packed for vectors so wide, or of an Encoded and its inputs' factors."""
    cdef matrix found
    cdef const float[::1] panels
    cdef const unsigned short[:, :, :, ::1] pairs
    cdef const unsigned char[:, :, :, :, ::1] codes
    cdef const unsigned short[:, :, ::1] scales
    cdef const float[:, ::1] of_outputs
    cdef const float[::1] of_inputs
    found.inputs, found.outputs, found.dtype = inputs, outputs, DTYPE_FLOAT32
    found.panels, found.codes, found.scales = NULL, NULL, NULL
    found.scale_of_output, found.factors, found.dots = NULL, NULL, 0
    views.append(weights)
    if not hasattr(weights, "codes"):
        panels = weights
        _expect(panels.shape[0] == inputs * ((outputs + width - 1) // width * width), name)
        found.panels = &panels[0]
        return found
    # Encoded has seen to its arrays' shapes.
    _expect(weights.inputs == inputs and weights.outputs == outputs, name)
    if weights.dtype == "bfloat16":
        pairs = weights.codes
        found.dtype, found.codes = DTYPE_BFLOAT16, &pairs[0, 0, 0, 0]
        return found
    codes = weights.codes
    found.codes = &codes[0, 0, 0, 0, 0]
    if weights.dtype == "int8_per_channel":
        of_outputs = weights.scales
        found.dtype, found.scale_of_output = DTYPE_INT8_PER_CHANNEL, &of_outputs[0, 0]
        if factors is not None:
            of_inputs = factors
            _expect(of_inputs.shape[0] == inputs, name)
            views.append(factors)
            found.factors = &of_inputs[0]
        return found
    scales = weights.scales
    found.dtype = DTYPE_INT8 if weights.dtype == "int8" else DTYPE_INT4
    found.scales = &scales[0, 0, 0]
    return found


cdef void _run(
    const kernels *table, const scan *of_direction, int number, bint fused, int num_threads
) noexcept:
    """All directions of some channels before the next channels, or one after the other."""
    cdef Py_ssize_t channels = of_direction.channels
    cdef scans task
    cdef int i
    task.directions, task.of_direction = number if fused else 1, of_direction
    with nogil:
        for i in range(number // task.directions):
            run_parts(table.scan, &task, channels, table.width, num_threads)
            task.of_direction += 1


cdef object _fill(scan *s, object direction, bint reverse):
    """Point `s` at a direction's arrays, and return the views that hold them."""
    cdef const float[:, :] u = direction[0], delta = direction[1], B = direction[3], C = direction[4]
    cdef const float[:, ::1] A = direction[2]
    cdef const float[::1] D = direction[5], delta_bias = direction[6]
    s.d_state = A.shape[0]
    s.B_constant, s.C_constant = direction[7], direction[8]
    _expect(1 <= s.d_state <= MAX_STATES, "d_state")
    _expect_shape(u, s.length, s.channels, "u")
    _expect_shape(delta, s.length, s.channels, "delta")
    _expect_shape(A, s.d_state, s.channels, "A")
    _expect_coefficients(B, s, s.B_constant, "B")
    _expect_coefficients(C, s, s.C_constant, "C")
    _expect(D is None or D.shape[0] == s.channels, "D")
    _expect(delta_bias is None or delta_bias.shape[0] == s.channels, "delta_bias")
    if s.length == 0 or s.channels == 0:
        return None
    s.u, s.u_stride = _first(u, reverse), _stride(u, reverse)
    s.delta, s.delta_stride = _first(delta, reverse), _stride(delta, reverse)
    s.A = &A[0, 0]
    s.B, s.B_stride = _first(B, reverse and not s.B_constant), _stride(B, reverse)
    s.C, s.C_stride = _first(C, reverse and not s.C_constant), _stride(C, reverse)
    s.D = NULL if D is None else &D[0]
    s.delta_bias = NULL if delta_bias is None else &delta_bias[0]
    return u, delta, A, B, C, D, delta_bias


cdef walk _walk(object described, Py_ssize_t rows) except *:
    """Of a vimnp.ops.walks.Walk; row after row, which has no lines, if there is none."""
    cdef walk found
    found.first = found.stride = found.length = found.line_stride = found.lines = 0
    if described is not None:
        found.first, found.stride, found.length, found.line_stride, found.lines = described
        _expect(walk_fits(&found, rows), "a walk")
    return found


cdef int _expect_coefficients(const float[:, :] values, scan *s, bint constant, str name) except -1:
    if constant:
        _expect_shape(values, s.d_state, s.channels, name)
        _expect(values.strides[0] == s.channels * <Py_ssize_t> sizeof(float), name)
    else:
        _expect_shape(values, s.length, s.d_state, name)
    return 0


cdef int _expect_shape(
    const float[:, :] view, Py_ssize_t rows, Py_ssize_t columns, str name
) except -1:
    _expect(view.shape[0] == rows and view.shape[1] == columns, name)
    _expect(columns <= 1 or view.strides[1] == sizeof(float), name)
    return 0


cdef int _expect(bint right, str name) except -1:
    if not right:
        raise ValueError(f"{name} does not fit: wrong shape or layout")
    return 0


cdef const float *_first(const float[:, :] view, bint reverse) noexcept:
    """The row where the scan begins."""
    return &view[view.shape[0] - 1 if reverse else 0, 0]


cdef Py_ssize_t _stride(const float[:, :] view, bint reverse) noexcept:
    """Floats from one token to the next in the direction of the scan."""
    cdef Py_ssize_t stride = view.strides[0] // <Py_ssize_t> sizeof(float)
    return -stride if reverse else stride


include "_program.pxi"
