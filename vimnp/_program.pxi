# Part of _scan.pyx: programs, run in one parallel region.

cdef extern from "isa.h" nogil:
    enum:
        MAX_INPUTS
        MAX_BUFFERS
        MAX_DIRECTIONS
        FIRST_BUFFER
        NO_BUFFER
        PATCHES

    struct program_array "array":
        int buffer
        Py_ssize_t offset, stride

    enum operation_kind "operation":
        OPERATION_EMBED
        OPERATION_LOOKUP
        OPERATION_ROTATE
        OPERATION_NORM
        OPERATION_PRODUCT
        OPERATION_CONV1D
        OPERATION_SCAN
        OPERATION_MEAN
        OPERATION_LARGEST
        OPERATION_COPY
        OPERATION_ADD
        OPERATION_CONV2D
        OPERATION_PATCHES
        OPERATION_CONV
        OPERATION_QUANTISE

    struct embed_operation:
        Py_ssize_t channels, height, width, columns, patch_height, patch_width, stride, padding
        matrix patch_proj
        const int *patches
        const float *offset
        Py_ssize_t offset_stride
        program_array pixels, out

    struct lookup_operation:
        matrix table
        program_array ids, out

    struct rotate_operation:
        Py_ssize_t channels
        const float *cos
        const float *sin
        program_array tokens

    struct norm_operation:
        Py_ssize_t channels
        const float *weight
        const float *bias
        float epsilon
        activation activation
        program_array residual, hidden, gate, out

    struct product_operation:
        matrix weights
        const float *bias
        activation activation
        Py_ssize_t column
        bint is_quantised
        program_array x, addend, out

    struct quantise_operation:
        matrix weights
        program_array x, out

    struct conv1d_filter:
        const float *weight
        const float *bias
        program_array out

    struct conv1d_operation:
        Py_ssize_t length, channels
        int taps, silu, directions, coarse
        program_array x, state
        conv1d_filter filters[2]

    struct conv2d_operation:
        Py_ssize_t height, width, channels
        int kernel, silu, coarse
        const float *weight
        const float *bias
        program_array x, out

    struct token_patches:
        Py_ssize_t height, width, channels, columns, kernel_height, kernel_width, stride, padding
        int columns_first
        program_array x

    struct patches_operation:
        token_patches patches
        program_array out

    struct conv_operation:
        token_patches patches
        matrix weights
        const float *bias
        activation activation
        program_array out

    struct scan_direction:
        Py_ssize_t length
        walk walk
        matrix dt_proj
        const float *delta_bias
        const float *A
        const float *D
        program_array u, dt, delta, B, C, z, out, state

    struct scan_operation:
        Py_ssize_t channels
        int d_state, directions, coarse
        float scale
        scan_direction of_direction[4]

    struct reduction_operation:
        Py_ssize_t count, channels
        program_array x, out

    union operands:
        embed_operation embed
        lookup_operation lookup
        rotate_operation rotate
        norm_operation norm
        product_operation product
        conv1d_operation conv1d
        scan_operation scan
        reduction_operation reduction
        conv2d_operation conv2d
        patches_operation patches
        conv_operation conv
        quantise_operation quantise

    struct program_operation "op":
        operation_kind kind
        int label, layer
        extent rows
        operands of

    enum split:
        SPLIT_ROWS
        SPLIT_COLUMNS

    struct program_stage "stage":
        split split
        Py_ssize_t length, grain, rows, block, prepared, count
        const program_operation *operations

    struct program:
        Py_ssize_t count
        const program_stage *stages
        int buffers
        const Py_ssize_t *offsets
        Py_ssize_t scratch, private_ "private"

    struct span:
        double begin, end
        int label, layer

    struct progress_list:
        char *first
        size_t size
        int shares

    struct forward_pass "pass":
        const program *program
        progress_list stages
        int inputs
        const void *input[8]
        float *out
        Py_ssize_t out_stride
        float *state
        float *workspace
        float *scratch
        span *spans
        Py_ssize_t capacity
        double begin

    double seconds_now()
    size_t progress_size(int shares)
    void deal_pass(forward_pass *p)
    void run_together(member_function call, const void *task, int num_threads)

PROGRAM_LIMITS = {
    "CHUNK": CHUNK, "PATCHES": PATCHES, "MOST_DIRECTIONS": MAX_DIRECTIONS, "MOST_BUFFERS": MAX_BUFFERS,
    "SHARED": SHARED, "ROWS_AT_ONCE": ROWS_AT_ONCE, "FLOATS_OF_BLOCK": FLOATS_OF_BLOCK,
    "MAX_KERNEL": MAX_KERNEL,
}  # which vimnp.engine.program knows without the kernels
_ACTIVATIONS = {None: ACTIVATION_NONE, "gelu": ACTIVATION_GELU, "relu": ACTIVATION_RELU}
_REDUCTIONS = {
    "mean": OPERATION_MEAN, "largest": OPERATION_LARGEST, "copy": OPERATION_COPY, "add": OPERATION_ADD,
}


cdef class Program:
    """A program of vimnp.engine.program, ready to run on one instruction set.

    It trusts what the builder has checked; what it copies out of arrays keeps their memory alive.
    """

    cdef program p
    cdef program_stage *stages
    cdef program_operation *operations
    cdef Py_ssize_t offsets[32]
    cdef Py_ssize_t floats  # of the workspace, without what each thread has
    cdef tuple input_shape
    cdef object ids  # how many there are, where the input is ids
    cdef Py_ssize_t out_floats, state_floats
    cdef const kernels *table
    cdef int dots  # see struct instruction_set
    cdef list arrays  # keeps the parameters alive

    def __cinit__(self, Kernels chosen not None, object described not None):
        self.table, self.dots = chosen.table, chosen.dots
        self.arrays = []
        self._lay_out(described)
        self._allocate(described)
        labels = {name: i for i, name in enumerate(described.labels)}
        cdef Py_ssize_t next = 0
        for i, stage in enumerate(described.stages):
            self.stages[i].operations = &self.operations[next]
            self._fill_stage(&self.stages[i], stage)
            for op in stage.operations:
                self.operations[next].label = labels[op.label]
                self._fill_operation(&self.operations[next], op)
                next += 1

    def __dealloc__(self):
        free(self.stages)
        free(self.operations)

    def workspace_size(self, int num_threads):
        """Floats that a pass on so many threads writes."""
        cdef Py_ssize_t of_stages = MAX_INPUTS * self.p.count * <Py_ssize_t> progress_size(num_threads)
        return self.floats + num_threads * self.p.scratch + of_stages // <Py_ssize_t> sizeof(float)

    def forward(
        self, list inputs not None, float[:, ::1] out not None, float[::1] memory not None, *,
        float[::1] state=None, int num_threads, span[:, ::1] spans,
    ):
        """What is asked for of each input: a row of out. Spans: a row for each thread."""
        cdef forward_pass task
        number = len(inputs)
        _expect(number <= MAX_INPUTS, "inputs")
        _expect(num_threads >= 1, "num_threads")
        _expect(memory.shape[0] >= self.workspace_size(num_threads), "memory")
        views = []  # keeps the buffers alive until the pass is through
        for i in range(number):
            _expect(inputs[i].shape == self.input_shape, "an input")
            if not inputs[i].flags.c_contiguous:
                raise ValueError("an input is not C-contiguous")
            task.input[i] = self._first_number(inputs[i].reshape(-1), views)
        if number == 0:
            return
        _expect_shape(out, number, self.out_floats, "out")
        task.program, task.inputs = &self.p, number
        task.out, task.out_stride = &out[0, 0], self.out_floats
        task.spans, task.capacity = NULL, 0
        if spans is not None:
            _expect(spans.shape[0] >= num_threads and spans.shape[1] > 0, "spans")
            task.spans, task.capacity = &spans[0, 0], spans.shape[1]
        task.state = NULL
        if self.state_floats:
            _expect(state is not None and state.shape[0] == self.state_floats, "state")
            task.state = &state[0]
        task.workspace, task.scratch = &memory[0], &memory[0] + self.floats
        task.stages.first = <char *> (task.scratch + num_threads * self.p.scratch)
        task.stages.size, task.stages.shares = progress_size(num_threads), num_threads
        with nogil:
            task.begin = seconds_now()
            deal_pass(&task)
            run_together(self.table.forward, &task, num_threads)

    cdef const void *_first_number(self, object input, list views) except NULL:
        """Of pixels, or of ids within their table; what is read of is left in `views`."""
        cdef const float[::1] pixels
        cdef const int[::1] ids
        if self.ids is None:
            pixels = input
            views.append(pixels)
            return &pixels[0]
        if input.min() < 0 or input.max() >= self.ids:
            raise ValueError(f"an id is none of {self.ids}")
        ids = input
        views.append(ids)
        return &ids[0]

    cdef int _lay_out(self, object described) except -1:
        """Where each buffer begins in the workspace."""
        number = FIRST_BUFFER + len(described.buffers)
        _expect(number <= MAX_BUFFERS, "buffers")
        self.floats = 0
        for i, size in enumerate(described.buffers):
            self.offsets[FIRST_BUFFER + i] = self.floats
            self.floats += size
        self.p.buffers, self.p.offsets = number, self.offsets
        self.p.private_ = _whole_lines(described.scratch)
        self.p.scratch = self.p.private_ + _whole_lines(described.private)
        self.input_shape, self.ids = described.inputs, described.ids
        self.state_floats = described.state
        self.out_floats = <Py_ssize_t> described.out[0] * <Py_ssize_t> described.out[1]
        return 0

    cdef int _allocate(self, object described) except -1:
        cdef size_t operations = sum([len(stage.operations) for stage in described.stages])
        self.p.count = len(described.stages)
        self.stages = <program_stage *> calloc(self.p.count, sizeof(program_stage))
        self.operations = <program_operation *> calloc(operations, sizeof(program_operation))
        if self.stages == NULL or self.operations == NULL:
            raise MemoryError
        self.p.stages = self.stages
        return 0

    cdef int _fill_stage(self, program_stage *to, object stage) except -1:
        to.split = SPLIT_ROWS if stage.split == "rows" else SPLIT_COLUMNS
        to.grain = self.table.rows if stage.split == "rows" else self._columns_at_least(stage)
        to.length, to.rows, to.block = stage.length, stage.rows, stage.block
        to.prepared, to.count = stage.prepared, len(stage.operations)
        return 0

    cdef int _columns_at_least(self, object stage) except -1:
        """A vector; or a panel, which is stored together, if a matrix is stored small."""
        products = [op.task for op in stage.operations if type(op.task).__name__ == "Product"]
        small = any([product.weights.encoded is not None for product in products])
        return max(self.table.width, SMALL_PANEL) if small else self.table.width

    cdef int _fill_operation(self, program_operation *to, object op) except -1:
        task, kind = op.task, type(op.task).__name__
        to.layer = op.layer
        to.rows.begin, to.rows.end = op.rows
        if kind == "Embed":
            to.kind = OPERATION_EMBED
            self._fill_embed(&to.of.embed, task)
        elif kind == "Lookup":
            to.kind = OPERATION_LOOKUP
            to.of.lookup.table = self._matrix(task.table)
            to.of.lookup.ids, to.of.lookup.out = _array(task.ids), _array(task.out)
        elif kind == "Rotate":
            to.kind = OPERATION_ROTATE
            to.of.rotate.channels, to.of.rotate.tokens = task.tokens.channels, _array(task.tokens)
            to.of.rotate.cos, to.of.rotate.sin = self._floats(task.cos), self._floats(task.sin)
        elif kind == "Norm":
            to.kind = OPERATION_NORM
            self._fill_norm(&to.of.norm, task)
        elif kind == "Product":
            to.kind = OPERATION_PRODUCT
            self._fill_product(&to.of.product, task)
        elif kind == "Quantise":
            to.kind = OPERATION_QUANTISE
            to.of.quantise.weights = self._matrix(task.weights)
            to.of.quantise.x, to.of.quantise.out = _array(task.x), _array(task.out)
        elif kind == "Conv1d":
            to.kind = OPERATION_CONV1D
            self._fill_conv1d(&to.of.conv1d, task)
        elif kind == "Conv2d":
            to.kind = OPERATION_CONV2D
            self._fill_conv2d(&to.of.conv2d, task)
        elif kind == "Patches":
            to.kind = OPERATION_PATCHES
            self._fill_patches(&to.of.patches.patches, task.patches)
            to.of.patches.out = _array(task.out)
        elif kind == "Conv":
            to.kind = OPERATION_CONV
            self._fill_patches(&to.of.conv.patches, task.patches)
            to.of.conv.weights, to.of.conv.bias = self._matrix(task.weights), self._floats(task.bias)
            to.of.conv.activation, to.of.conv.out = _ACTIVATIONS[task.activation], _array(task.out)
        elif kind == "Scan":
            to.kind = OPERATION_SCAN
            self._fill_scan(&to.of.scan, task)
        else:
            to.kind = _REDUCTIONS[task.kind]
            to.of.reduction.count = task.groups if task.kind == "add" else task.x.rows
            to.of.reduction.channels = task.x.channels
            to.of.reduction.x, to.of.reduction.out = _array(task.x), _array(task.out)
        return 0

    cdef int _fill_embed(self, embed_operation *to, object task) except -1:
        cdef const int[::1] patches = task.patches
        to.channels, to.height, to.width = task.picture
        to.patch_height, to.patch_width = task.patch
        to.columns, to.stride, to.padding = task.grid_columns, task.stride, task.padding
        to.patch_proj, to.offset = self._matrix(task.patch_proj), self._floats(task.offset)
        to.offset_stride = task.out.channels if task.offset.ndim == 2 else 0
        to.patches = &patches[0]
        self.arrays.append(patches)
        to.pixels, to.out = _array(task.pixels), _array(task.out)
        return 0

    cdef int _fill_norm(self, norm_operation *to, object task) except -1:
        to.channels, to.epsilon = task.residual.channels, task.epsilon
        to.weight, to.bias = self._floats(task.weight), self._floats(task.bias)
        to.residual, to.hidden = _array(task.residual), _array(task.hidden)
        to.gate, to.activation = _array(task.gate), _ACTIVATIONS[task.activation]
        to.out = _array(task.out)
        return 0

    cdef int _fill_product(self, product_operation *to, object task) except -1:
        to.weights, to.bias = self._matrix(task.weights), self._floats(task.bias)
        to.column, to.activation = task.column, _ACTIVATIONS[task.activation]
        to.is_quantised = task.is_quantised
        to.x, to.addend, to.out = _array(task.x), _array(task.add), _array(task.out)
        return 0

    cdef int _fill_conv1d(self, conv1d_operation *to, object task) except -1:
        to.length, to.channels = task.x.rows, task.x.channels
        to.taps, to.silu, to.directions = len(task.filters[0].weight), task.silu, len(task.filters)
        _expect(1 <= to.taps <= MAX_TAPS, "d_conv")
        to.coarse = task.coarse
        to.x, to.state = _array(task.x), _array(task.state)
        for i, filter in enumerate(task.filters):
            to.filters[i].weight = self._floats(filter.weight)
            to.filters[i].bias = self._floats(filter.bias)
            to.filters[i].out = _array(filter.out)
        return 0

    cdef int _fill_conv2d(self, conv2d_operation *to, object task) except -1:
        to.height, to.width = task.grid
        to.channels, to.kernel = task.x.channels, task.kernel
        to.silu, to.coarse = task.silu, task.coarse
        to.weight, to.bias = self._floats(task.filter.weight), self._floats(task.filter.bias)
        to.x, to.out = _array(task.x), _array(task.filter.out)
        return 0

    cdef int _fill_patches(self, token_patches *to, object patches) except -1:
        to.height, to.width = patches.grid
        to.channels, to.columns = patches.x.channels, patches.windows[1]
        to.kernel_height, to.kernel_width = patches.kernel
        to.stride, to.padding = patches.stride, patches.padding
        to.columns_first, to.x = patches.columns_first, _array(patches.x)
        return 0

    cdef int _fill_scan(self, scan_operation *to, object task) except -1:
        to.d_state, to.channels = task.directions[0].A.shape
        to.directions, to.scale, to.coarse = len(task.directions), task.scale, task.coarse
        _expect(1 <= to.d_state <= MAX_STATES, "d_state")
        for i, direction in enumerate(task.directions):
            self._fill_direction(&to.of_direction[i], direction)
        return 0

    cdef int _fill_direction(self, scan_direction *to, object direction) except -1:
        to.length, to.walk = direction.u.rows, _walk(direction.walk, direction.u.rows)
        to.dt_proj = self._matrix(direction.dt_proj)
        to.delta_bias = self._floats(direction.delta_bias)
        to.A, to.D = self._floats(direction.A), self._floats(direction.D)
        to.u, to.dt, to.delta = _array(direction.u), _array(direction.dt), _array(direction.delta)
        to.B, to.C, to.z = _array(direction.B), _array(direction.C), _array(direction.z)
        to.out, to.state = _array(direction.out), _array(direction.state)
        return 0

    cdef matrix _matrix(self, object packed) except *:
        """Of no matrix, one without inputs."""
        cdef matrix found
        found.inputs = found.outputs = 0
        found.dtype, found.panels, found.codes, found.scales = DTYPE_FLOAT32, NULL, NULL, NULL
        found.scale_of_output, found.factors, found.dots = NULL, NULL, 0
        if packed is not None:
            weights = packed.panels if packed.encoded is None else packed.encoded
            found = _matrix(
                weights, packed.factors, packed.inputs, packed.outputs, self.table.width, self.arrays,
                "a parameter",
            )
            found.dots = self.dots
        return found

    cdef const float *_floats(self, object array) except? NULL:
        """The first number of an array, rows in order; NULL of none."""
        if array is None:
            return NULL
        cdef const float[::1] view = array.reshape(-1)
        _expect(view.shape[0] > 0, "a parameter")
        self.arrays.append(view)
        return &view[0]


cdef Py_ssize_t _whole_lines(Py_ssize_t floats):
    return (floats + LINE - 1) // LINE * LINE


cdef program_array _array(object array) except *:
    cdef program_array found
    found.buffer, found.offset, found.stride = NO_BUFFER, 0, 0
    if array is not None:
        found.buffer, found.offset, found.stride = array.buffer, array.offset, array.stride
    return found
