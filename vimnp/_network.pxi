# Part of _scan.pyx: the whole network, in one parallel region.

from libc.stdlib cimport calloc, free

cdef extern from "isa.h" nogil:
    const int MAX_IMAGES
    struct norm:
        const float *weight
        const float *bias
        float epsilon

    struct direction:
        const float *conv_weight
        const float *conv_bias
        matrix x_proj, dt_proj
        const float *dt_bias
        const float *A
        const float *D

    struct layer:
        norm norm
        matrix in_proj, out_proj
        direction directions[2]
        int is_flipped

    enum pooling:
        POOL_MEAN
        POOL_MAX
        POOL_ALL

    struct network:
        Py_ssize_t height, width, columns, patch_size, stride
        Py_ssize_t length, embed_dim, d_inner, dt_rank, classes
        int d_state, d_conv, depth, layers_in_block
        int directions, computed
        float scale
        int flips_sequence
        int number_of_class_tokens, number_of_pooled_tokens
        Py_ssize_t class_tokens[2]
        Py_ssize_t pooled_tokens[2]
        pooling pooling
        matrix patch_proj, head
        const float *token_offset
        const float *head_bias
        const float *cos
        const float *sin
        int rope_residual
        norm norm_f
        const layer *layers

    struct workspace:
        pass

    Py_ssize_t lay_out(const network *n, int num_threads, float *memory, workspace *w)

    struct span:
        double begin, end
        int step, layer

    enum output:
        OUTPUT_LOGITS
        OUTPUT_FEATURES
        OUTPUT_TOKENS

    struct forward_pass "pass":
        const network *network
        workspace workspace
        int images
        const float *pixels[8]
        output output
        float *out
        Py_ssize_t out_step
        span *spans
        Py_ssize_t capacity
        double begin

    double seconds_now()
    void deal_stages(forward_pass *p, int num_threads, Py_ssize_t width, Py_ssize_t rows)
    void run_together(member_function run, const void *task, int num_threads)

_OUTPUTS = {"logits": OUTPUT_LOGITS, "features": OUTPUT_FEATURES, "tokens": OUTPUT_TOKENS}
STEP_NAMES = (
    "embed", "norm", "in_proj", "conv1d", "x_proj", "scan", "out_proj", "pool", "head",
    "wait",
)


cdef class Network:
    """A network whose matrices are packed for one instruction set; see vimnp.native."""

    cdef network n
    cdef layer *layers
    cdef const kernels *table
    cdef list arrays  # keeps the parameters alive

    def __cinit__(self, Kernels chosen not None, object config, object parameters):
        cdef network *n = &self.n
        self.table = chosen.table
        self.arrays = []
        n.height, n.width = config.img_size
        n.columns, n.patch_size, n.stride = config.grid_size[1], config.patch_size, config.stride
        n.length, n.embed_dim, n.d_inner = config.num_tokens, config.embed_dim, config.d_inner
        n.dt_rank, n.d_state, n.d_conv = config.dt_rank, config.d_state, config.d_conv
        n.classes, n.depth = config.num_classes, config.num_active_layers
        n.layers_in_block = 2 if config.if_bidirectional else 1
        n.directions, n.computed = config.num_directions, len(config.direction_suffixes)
        n.scale = 0.5 if config.halves_directions else 1.0
        n.flips_sequence = config.flips_sequence
        self._place_tokens(config)
        _expect(1 <= n.d_state <= MAX_STATES, "d_state")
        _expect(1 <= n.d_conv <= MAX_TAPS, "d_conv")

        inputs = 3 * n.patch_size * n.patch_size
        n.patch_proj = self._matrix(parameters.patch_proj, inputs, n.embed_dim)
        n.token_offset = self._array(parameters.token_offset, n.length, n.embed_dim)
        n.cos = n.sin = NULL
        n.rope_residual = config.if_rope_residual
        if parameters.rotation is not None:
            n.cos = self._array(parameters.rotation.cos, n.length, n.embed_dim)
            n.sin = self._array(parameters.rotation.sin, n.length, n.embed_dim)
        n.norm_f = self._norm(parameters.norm_f)
        n.head = self._matrix(parameters.head, n.embed_dim, n.classes)
        n.head_bias = self._array(parameters.head_bias, 1, n.classes)
        self.layers = <layer *> calloc(n.depth, sizeof(layer))
        if self.layers == NULL:
            raise MemoryError
        n.layers = self.layers
        for i in range(n.depth):
            self._fill_layer(&self.layers[i], parameters.layers[i])

    def __dealloc__(self):
        free(self.layers)

    @property
    def images_at_once(self):
        """Pictures that go through it together, at most."""
        return MAX_IMAGES

    def workspace_size(self, int num_threads):
        """Floats that a pass on so many threads writes."""
        cdef workspace unused
        return lay_out(&self.n, num_threads, NULL, &unused)

    def forward(
        self, list images not None, float[:, ::1] out not None, float[::1] memory not None, *,
        str output not None, int num_threads, span[:, ::1] spans,
    ):
        """What is asked for of images (3, H, W): a row of out each. Spans: a row for each thread."""
        cdef forward_pass task
        cdef const float[:, :, ::1] pixels
        number = len(images)
        _expect(number <= MAX_IMAGES, "images")
        _expect(num_threads >= 1, "num_threads")
        _expect(memory.shape[0] >= self.workspace_size(num_threads), "memory")
        views = []  # keeps the buffers alive until the pass is through
        for i in range(number):
            pixels = images[i]
            _expect(pixels.shape[0] == 3, "pixels")
            _expect(pixels.shape[1] == self.n.height and pixels.shape[2] == self.n.width, "pixels")
            task.pixels[i] = &pixels[0, 0, 0]
            views.append(pixels)
        task.network, task.images = &self.n, number
        task.output = _OUTPUTS[output]
        task.out_step = self._floats_of(task.output)
        task.spans, task.capacity = NULL, 0
        if number == 0:
            return
        _expect_shape(out, number, task.out_step, "out")
        task.out = &out[0, 0]
        if spans is not None:
            _expect(spans.shape[0] >= num_threads and spans.shape[1] > 0, "spans")
            task.spans, task.capacity = &spans[0, 0], spans.shape[1]
        lay_out(&self.n, num_threads, &memory[0], &task.workspace)
        with nogil:
            task.begin = seconds_now()
            deal_stages(&task, num_threads, self.table.width, self.table.rows)
            run_together(self.table.forward, &task, num_threads)

    cdef Py_ssize_t _floats_of(self, output output) noexcept:
        """Of what is asked for of an image."""
        if output == OUTPUT_LOGITS:
            return self.n.classes * (self.n.length if self.n.pooling == POOL_ALL else 1)
        every = output == OUTPUT_TOKENS or self.n.pooling != POOL_MEAN
        return self.n.embed_dim * (self.n.length if every else 1)

    cdef int _place_tokens(self, object config) except -1:
        """Class tokens, and which tokens the head reads."""
        cdef network *n = &self.n
        class_tokens, pooled_tokens = list(config.class_tokens.values()), config.pooled_tokens or ()
        n.number_of_class_tokens = len(class_tokens)
        n.number_of_pooled_tokens = len(pooled_tokens)
        for i in range(len(class_tokens)):
            n.class_tokens[i] = class_tokens[i]
        for i in range(len(pooled_tokens)):
            n.pooled_tokens[i] = pooled_tokens[i]
        n.pooling = POOL_MEAN
        if config.reads_every_token:
            n.pooling = POOL_MAX if config.final_pool_type == "max" else POOL_ALL
        return 0

    cdef int _fill_layer(self, layer *to, object layer) except -1:
        cdef Py_ssize_t embed_dim = self.n.embed_dim, d_inner = self.n.d_inner
        to.norm = self._norm(layer.norm)
        to.in_proj = self._matrix(layer.in_proj, embed_dim, 2 * d_inner)
        to.out_proj = self._matrix(layer.out_proj, d_inner, embed_dim)
        to.is_flipped = layer.is_flipped
        for i in range(self.n.directions):
            self._fill_direction(&to.directions[i], layer.directions[i])
        return 0

    cdef int _fill_direction(self, direction *to, object direction) except -1:
        cdef Py_ssize_t d_inner = self.n.d_inner, dt_rank = self.n.dt_rank
        to.conv_weight = self._array(direction.conv_weight, self.n.d_conv, d_inner)
        to.conv_bias = self._array(direction.conv_bias, 1, d_inner)
        to.x_proj = self._matrix(direction.x_proj, d_inner, dt_rank + 2 * self.n.d_state)
        to.dt_proj = self._matrix(direction.dt_proj, dt_rank, d_inner)
        to.dt_bias = self._array(direction.dt_bias, 1, d_inner)
        to.A = self._array(direction.A, self.n.d_state, d_inner)
        to.D = self._array(direction.D, 1, d_inner)
        return 0

    cdef norm _norm(self, object parameters) except *:
        cdef norm found
        found.weight = self._array(parameters.weight, 1, self.n.embed_dim)
        found.bias = NULL
        found.epsilon = parameters.epsilon
        if parameters.bias is not None:
            found.bias = self._array(parameters.bias, 1, self.n.embed_dim)
        return found

    cdef matrix _matrix(self, object panels, Py_ssize_t inputs, Py_ssize_t outputs) except *:
        cdef matrix packed
        cdef Py_ssize_t width = self.table.width
        packed.inputs, packed.outputs = inputs, outputs
        packed.panels = self._array(panels, inputs, (outputs + width - 1) // width * width)
        return packed

    cdef const float *_array(self, object array, Py_ssize_t rows, Py_ssize_t columns) except NULL:
        """The first number of an array that has so many, rows in order."""
        cdef const float[::1] view = array.reshape(-1)
        _expect(view.shape[0] == rows * columns and view.shape[0] > 0, "a parameter")
        self.arrays.append(view)
        return &view[0]
